//! Errors that the owner can do something about.

/// The values are those of `FreCode` in the C header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(i32)]
pub enum Code {
    /// Bytes or arguments that nobody should have sent; the state did not change.
    Invalid = 1,
    /// Only the leader can do this.
    NotLeader = 2,
    /// Not now: try again after the next state change.
    Unavailable = 3,
    /// The owner broke the order of calls.
    Misuse = 4,
    /// What is stored contradicts itself or what a peer knows.
    DataLoss = 5,
    /// No such peer.
    NotFound = 6,
    /// A bug: the engine panicked, and answers every later call with this.
    Panic = 7,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fail {
    pub code: Code,
    pub text: String,
}

impl Fail {
    pub fn new(code: Code, text: impl Into<String>) -> Fail {
        Fail {
            code,
            text: text.into(),
        }
    }
}

pub fn invalid<T>(text: impl Into<String>) -> Result<T, Fail> {
    Err(Fail::new(Code::Invalid, text))
}

pub fn misuse<T>(text: impl Into<String>) -> Result<T, Fail> {
    Err(Fail::new(Code::Misuse, text))
}

pub fn unavailable<T>(text: impl Into<String>) -> Result<T, Fail> {
    Err(Fail::new(Code::Unavailable, text))
}

impl From<raft::Error> for Fail {
    fn from(error: raft::Error) -> Fail {
        let code = match error {
            raft::Error::StepPeerNotFound => Code::NotFound,
            raft::Error::ProposalDropped => Code::Unavailable,
            _ => Code::Invalid,
        };
        Fail::new(code, error.to_string())
    }
}
