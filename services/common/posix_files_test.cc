#include "services/common/posix_files.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <filesystem>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "services/common/system_random.h"
#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace fulmar::common {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

class PosixFilesTest : public ::testing::Test {
 protected:
  PosixFilesTest() {
    dir_ = absl::StrCat(::testing::TempDir(), "fulmar-files-", SystemRandom().Next());
    EXPECT_TRUE(files_.MakeDirs(dir_).ok());
  }
  ~PosixFilesTest() override { std::filesystem::remove_all(dir_); }

  std::string Path(const std::string& name) const { return absl::StrCat(dir_, "/", name); }
  std::unique_ptr<File> Make(const std::string& name) {
    auto file = files_.Open(Path(name), OpenMode::kCreate);
    EXPECT_TRUE(file.ok()) << file.status();
    return *std::move(file);
  }

  PosixFiles files_;
  std::string dir_;
};

TEST_F(PosixFilesTest, WhatIsWrittenIsRead) {
  const std::unique_ptr<File> file = Make("a");

  ASSERT_TRUE(file->PWrite(3, "hello").ok());
  ASSERT_TRUE(file->Sync().ok());

  EXPECT_EQ(ReadWholeFile(files_, Path("a")).value(), std::string("\0\0\0hello", 8));
  EXPECT_EQ(file->Size().value(), 8u);
  EXPECT_EQ(file->path(), Path("a"));
}

TEST_F(PosixFilesTest, AReadOverTheEndGivesWhatIsThere) {
  const std::unique_ptr<File> file = Make("a");
  ASSERT_TRUE(file->PWrite(0, "hello").ok());
  std::string out(10, '.');

  EXPECT_EQ(file->PRead(3, 7, out.data()).value(), 2u);
  EXPECT_EQ(out, "lo........");
  EXPECT_EQ(file->PRead(5, 7, out.data()).value(), 0u);
  EXPECT_EQ(file->PRead(500, 7, out.data()).value(), 0u);
}

// More pieces than one system call takes, empty ones among them.
TEST_F(PosixFilesTest, ManyPiecesAreWrittenInOrder) {
  const std::unique_ptr<File> file = Make("a");
  std::vector<std::string> pieces;
  std::string whole;
  for (int i = 0; i < 3000; ++i) {
    pieces.push_back(i % 7 == 0 ? "" : std::string(static_cast<size_t>(i % 50), static_cast<char>('a' + i % 26)));
    whole += pieces.back();
  }
  const std::vector<std::string_view> views(pieces.begin(), pieces.end());

  ASSERT_TRUE(file->PWriteV(2, views).ok());

  EXPECT_EQ(ReadWholeFile(files_, Path("a")).value(), absl::StrCat(std::string(2, '\0'), whole));
}

TEST_F(PosixFilesTest, WritingNoPiecesIsFine) {
  const std::unique_ptr<File> file = Make("a");

  EXPECT_TRUE(file->PWriteV(0, {}).ok());
  EXPECT_TRUE(file->PWriteV(0, {std::string_view()}).ok());
  EXPECT_EQ(file->Size().value(), 0u);
}

TEST_F(PosixFilesTest, ZeroFillLeavesZerosWithBlocksBehindThem) {
  constexpr uint64_t kSize = (17 << 20) + 123;  // more than two windows, and a rest
  const std::unique_ptr<File> file = Make("a");
  ASSERT_TRUE(file->PWrite(1000, "old").ok());

  ASSERT_TRUE(file->ZeroFill(kSize).ok());

  EXPECT_EQ(ReadWholeFile(files_, Path("a")).value(), std::string(kSize, '\0'));
  struct stat info{};
  ASSERT_EQ(stat(Path("a").c_str(), &info), 0);
  EXPECT_GE(info.st_blocks * 512, static_cast<int64_t>(kSize));
}

TEST_F(PosixFilesTest, ZeroFillMakesALongerFileShorter) {
  const std::unique_ptr<File> file = Make("a");
  ASSERT_TRUE(file->PWrite(0, "0123456789").ok());

  ASSERT_TRUE(file->ZeroFill(4).ok());
  EXPECT_EQ(ReadWholeFile(files_, Path("a")).value(), std::string(4, '\0'));
  ASSERT_TRUE(file->ZeroFill(0).ok());
  EXPECT_EQ(file->Size().value(), 0u);
}

TEST_F(PosixFilesTest, OpenModesSayWhatMustExist) {
  EXPECT_EQ(files_.Open(Path("a"), OpenMode::kRead).status().code(), absl::StatusCode::kNotFound);
  EXPECT_EQ(files_.Open(Path("a"), OpenMode::kReadWrite).status().code(), absl::StatusCode::kNotFound);
  EXPECT_TRUE(files_.Open(Path("a"), OpenMode::kCreateOrOpen).ok());
  EXPECT_EQ(files_.Open(Path("a"), OpenMode::kCreate).status().code(), absl::StatusCode::kAlreadyExists);
  EXPECT_TRUE(files_.Open(Path("a"), OpenMode::kCreateOrOpen).ok());
  EXPECT_TRUE(files_.Open(Path("a"), OpenMode::kReadWrite).ok());
  EXPECT_FALSE((*files_.Open(Path("a"), OpenMode::kRead))->PWrite(0, "x").ok());
}

TEST_F(PosixFilesTest, DescriptorsAreNotInherited) {
  const std::unique_ptr<File> file = Make("a");
  int open_files = 0;
  for (const auto& entry : std::filesystem::directory_iterator("/proc/self/fd")) {
    std::error_code error;
    const int fd = std::stoi(entry.path().filename());
    if (std::filesystem::read_symlink(entry.path(), error) != Path("a")) continue;
    ++open_files;
    EXPECT_NE(fcntl(fd, F_GETFD) & FD_CLOEXEC, 0);
  }
  EXPECT_EQ(open_files, 1);
}

TEST_F(PosixFilesTest, AClosedFileGivesItsDescriptorBack) {
  Make("a");
  const auto count = [] {
    return std::distance(std::filesystem::directory_iterator("/proc/self/fd"), std::filesystem::directory_iterator());
  };
  const auto before = count();

  for (int i = 0; i < 10; ++i) EXPECT_TRUE(files_.Open(Path("a"), OpenMode::kRead).ok());

  EXPECT_EQ(count(), before);
}

TEST_F(PosixFilesTest, FoldersAreMadeListedAndRemoved) {
  ASSERT_TRUE(files_.MakeDirs(Path("x/y/z/")).ok());
  ASSERT_TRUE(files_.MakeDirs(Path("x/y/z")).ok());
  Make("x/b");
  Make("x/a");

  EXPECT_THAT(files_.List(Path("x")).value(), ElementsAre("a", "b", "y"));
  EXPECT_EQ(files_.List(Path("none")).status().code(), absl::StatusCode::kNotFound);
  EXPECT_FALSE(files_.MakeDirs(Path("x/a/sub")).ok());
  EXPECT_FALSE(files_.MakeDirs(Path("x/a")).ok());
  EXPECT_TRUE(files_.Exists(Path("x/y")).value());
  EXPECT_FALSE(files_.Exists(Path("x/a/none")).value());
  EXPECT_FALSE(files_.Remove(Path("x/y")).ok());
  EXPECT_TRUE(files_.Remove(Path("x/y/z")).ok());
  EXPECT_TRUE(files_.Remove(Path("x/y")).ok());
  EXPECT_TRUE(files_.Remove(Path("x/a")).ok());
  EXPECT_EQ(files_.Remove(Path("x/a")).code(), absl::StatusCode::kNotFound);
  EXPECT_TRUE(files_.SyncDir(Path("x")).ok());
  EXPECT_FALSE(files_.SyncDir(Path("x/b")).ok());
}

TEST_F(PosixFilesTest, RenameReplacesItsTarget) {
  ASSERT_TRUE(Make("a")->PWrite(0, "new").ok());
  ASSERT_TRUE(Make("b")->PWrite(0, "old content").ok());

  ASSERT_TRUE(files_.Rename(Path("a"), Path("b")).ok());

  EXPECT_EQ(ReadWholeFile(files_, Path("b")).value(), "new");
  EXPECT_EQ(files_.Rename(Path("a"), Path("b")).code(), absl::StatusCode::kNotFound);
}

TEST_F(PosixFilesTest, ReplaceFileLeavesTheNewContentAndNothingElse) {
  ASSERT_TRUE(ReplaceFile(files_, Path("a"), "first version, long").ok());
  ASSERT_TRUE(Make("a.new")->PWrite(0, "left by a crash, and longer than what comes now").ok());

  ASSERT_TRUE(ReplaceFile(files_, Path("a"), "second").ok());

  EXPECT_EQ(ReadWholeFile(files_, Path("a")).value(), "second");
  EXPECT_THAT(files_.List(dir_).value(), ElementsAre("a"));
}

TEST_F(PosixFilesTest, ALockIsHeldByOneWhileItLives) {
  auto first = files_.Lock(Path("lock"));
  ASSERT_TRUE(first.ok());

  const absl::Status refused = files_.Lock(Path("lock")).status();
  EXPECT_EQ(refused.code(), absl::StatusCode::kUnavailable);
  EXPECT_THAT(std::string(refused.message()), HasSubstr("held by another process"));
  first->reset();
  EXPECT_TRUE(files_.Lock(Path("lock")).ok());
}

TEST_F(PosixFilesTest, FreeBytesIsWhatTheFileSystemHasLeft) {
  EXPECT_GT(files_.FreeBytes(dir_).value(), 0u);
  EXPECT_EQ(files_.FreeBytes(Path("none")).status().code(), absl::StatusCode::kNotFound);
}

// /dev/full is a file on a disk that is always full.
TEST_F(PosixFilesTest, AFullDiskIsResourceExhausted) {
  auto full = files_.Open("/dev/full", OpenMode::kReadWrite);
  ASSERT_TRUE(full.ok());

  const absl::Status status = (*full)->PWrite(0, "x");

  EXPECT_EQ(status.code(), absl::StatusCode::kResourceExhausted);
  EXPECT_THAT(std::string(status.message()), HasSubstr("pwrite /dev/full: No space left on device (28)"));
}

TEST(FileErrorTest, NamesCallPathAndErrno) {
  EXPECT_EQ(FileError(ENOSPC, "a", "b").code(), absl::StatusCode::kResourceExhausted);
  EXPECT_EQ(FileError(EDQUOT, "a", "b").code(), absl::StatusCode::kResourceExhausted);
  EXPECT_EQ(FileError(EIO, "a", "b").code(), absl::StatusCode::kDataLoss);
  EXPECT_EQ(FileError(ENOENT, "a", "b").code(), absl::StatusCode::kNotFound);
  EXPECT_EQ(FileError(EEXIST, "a", "b").code(), absl::StatusCode::kAlreadyExists);
  EXPECT_EQ(FileError(EACCES, "a", "b").code(), absl::StatusCode::kPermissionDenied);
  EXPECT_EQ(FileError(EROFS, "a", "b").code(), absl::StatusCode::kPermissionDenied);
  EXPECT_EQ(FileError(EMFILE, "a", "b").code(), absl::StatusCode::kUnknown);
  EXPECT_EQ(FileError(EIO, "fdatasync", "/d/f").message(), "fdatasync /d/f: Input/output error (5)");
}

}  // namespace
}  // namespace fulmar::common
