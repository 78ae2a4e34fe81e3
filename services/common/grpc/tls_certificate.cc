#include "services/common/grpc/tls_certificate.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <openssl/bio.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/rand.h>
#include <openssl/x509.h>
#include <openssl/x509v3.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstring>
#include <fstream>
#include <memory>
#include <sstream>

#include "absl/strings/str_cat.h"
#include "services/common/log.h"
#include "services/common/status.h"

namespace fulmar::common {
namespace {

constexpr int64_t kLifetimeSeconds = int64_t{10} * 365 * 24 * 3600;

template <auto Free>
struct Deleter {
  template <class T>
  void operator()(T* object) const { Free(object); }
};
using Key = std::unique_ptr<EVP_PKEY, Deleter<EVP_PKEY_free>>;
using Certificate = std::unique_ptr<X509, Deleter<X509_free>>;
using Bio = std::unique_ptr<BIO, Deleter<BIO_free_all>>;
using Extension = std::unique_ptr<X509_EXTENSION, Deleter<X509_EXTENSION_free>>;

std::string OpenSslError() {
  char text[256] = "no reason given";
  if (const unsigned long code = ERR_get_error(); code != 0) ERR_error_string_n(code, text, sizeof text);
  ERR_clear_error();
  return text;
}

absl::StatusOr<std::string> ReadPem(const std::string& path) {
  std::ifstream in(path);
  std::stringstream text;
  text << in.rdbuf();
  if (!in) return absl::InvalidArgumentError(absl::StrCat("cannot read '", path, "': ", std::strerror(errno)));
  return text.str();
}

Bio ReadBio(const std::string& text) { return Bio(BIO_new_mem_buf(text.data(), static_cast<int>(text.size()))); }

std::string Text(BIO* bio) {
  char* data = nullptr;
  const long size = BIO_get_mem_data(bio, &data);
  return std::string(data, static_cast<size_t>(size));
}

absl::StatusOr<Certificate> ParseCertificate(const std::string& pem, const std::string& path) {
  Certificate certificate(PEM_read_bio_X509(ReadBio(pem).get(), nullptr, nullptr, nullptr));
  if (certificate == nullptr) return absl::InvalidArgumentError(absl::StrCat("'", path, "' holds no PEM certificate: ", OpenSslError()));
  return certificate;
}

absl::Status CheckPair(const TlsIdentity& identity, const std::string& certificate_path, const std::string& key_path) {
  FULMAR_ASSIGN_OR_RETURN(const Certificate certificate, ParseCertificate(identity.certificate_chain, certificate_path));
  const Key key(PEM_read_bio_PrivateKey(ReadBio(identity.private_key).get(), nullptr, nullptr, nullptr));
  if (key == nullptr) return absl::InvalidArgumentError(absl::StrCat("'", key_path, "' holds no PEM private key: ", OpenSslError()));
  if (X509_check_private_key(certificate.get(), key.get()) != 1)
    return absl::InvalidArgumentError(absl::StrCat("the key in '", key_path, "' is not that of the certificate in '", certificate_path, "'"));
  return absl::OkStatus();
}

bool IsAddress(const std::string& name) {
  unsigned char buffer[sizeof(in6_addr)];
  return inet_pton(AF_INET, name.c_str(), buffer) == 1 || inet_pton(AF_INET6, name.c_str(), buffer) == 1;
}

bool Names(X509* certificate, const std::string& name) {
  if (IsAddress(name)) return X509_check_ip_asc(certificate, name.c_str(), 0) == 1;
  return X509_check_host(certificate, name.c_str(), name.size(), 0, nullptr) == 1;
}

bool StillGood(const TlsIdentity& identity, const std::vector<std::string>& names, absl::Duration renew_before) {
  const absl::StatusOr<Certificate> certificate = ParseCertificate(identity.certificate_chain, "");
  if (!certificate.ok() || !CheckPair(identity, "", "").ok()) return false;
  int days = 0, seconds = 0;
  if (ASN1_TIME_diff(&days, &seconds, nullptr, X509_get0_notAfter(certificate->get())) != 1) return false;
  if (absl::Hours(24) * days + absl::Seconds(seconds) < renew_before) return false;
  for (const std::string& name : names)
    if (!Names(certificate->get(), name)) return false;
  return true;
}

bool AddExtension(X509* certificate, int nid, const std::string& value) {
  X509V3_CTX context;
  X509V3_set_ctx_nodb(&context);
  X509V3_set_ctx(&context, certificate, certificate, nullptr, nullptr, 0);
  const Extension extension(X509V3_EXT_conf_nid(nullptr, &context, nid, value.c_str()));
  return extension != nullptr && X509_add_ext(certificate, extension.get(), -1) == 1;
}

std::string AlternativeNames(const std::vector<std::string>& names) {
  std::string text;
  for (const std::string& name : names) absl::StrAppend(&text, text.empty() ? "" : ",", IsAddress(name) ? "IP:" : "DNS:", name);
  return text;
}

absl::StatusOr<TlsIdentity> MakeIdentity(const std::vector<std::string>& names) {
  const Key key(EVP_EC_gen("P-256"));
  const Certificate certificate(X509_new());
  if (key == nullptr || certificate == nullptr) return absl::InternalError(absl::StrCat("cannot make a key: ", OpenSslError()));
  // A serial number that was never used before, so that clients which remember one certificate do not mistake another for it.
  uint64_t serial = 0;
  bool ok = RAND_bytes(reinterpret_cast<unsigned char*>(&serial), sizeof serial) == 1;
  ok = ok && X509_set_version(certificate.get(), 2) == 1 && ASN1_INTEGER_set_uint64(X509_get_serialNumber(certificate.get()), serial >> 1) == 1;
  ok = ok && X509_gmtime_adj(X509_getm_notBefore(certificate.get()), -3600) != nullptr;  // clocks of clients may be late
  ok = ok && X509_gmtime_adj(X509_getm_notAfter(certificate.get()), kLifetimeSeconds) != nullptr;
  X509_NAME* const subject = X509_get_subject_name(certificate.get());
  ok = ok && X509_NAME_add_entry_by_txt(subject, "CN", MBSTRING_ASC, reinterpret_cast<const unsigned char*>("fulmar standalone"), -1, -1, 0) == 1;
  ok = ok && X509_set_issuer_name(certificate.get(), subject) == 1 && X509_set_pubkey(certificate.get(), key.get()) == 1;
  ok = ok && AddExtension(certificate.get(), NID_basic_constraints, "critical,CA:TRUE");  // so that it can be trusted as its own root
  ok = ok && AddExtension(certificate.get(), NID_subject_alt_name, AlternativeNames(names));
  ok = ok && AddExtension(certificate.get(), NID_ext_key_usage, "serverAuth,clientAuth");
  ok = ok && X509_sign(certificate.get(), key.get(), EVP_sha256()) != 0;
  const Bio certificate_out(BIO_new(BIO_s_mem())), key_out(BIO_new(BIO_s_mem()));
  ok = ok && PEM_write_bio_X509(certificate_out.get(), certificate.get()) == 1;
  ok = ok && PEM_write_bio_PKCS8PrivateKey(key_out.get(), key.get(), nullptr, nullptr, 0, nullptr, nullptr) == 1;
  if (!ok) return absl::InternalError(absl::StrCat("cannot make a self-signed certificate: ", OpenSslError()));
  return TlsIdentity{.certificate_chain = Text(certificate_out.get()), .private_key = Text(key_out.get())};
}

// Whole or not at all, and never readable by others, not even for a moment.
absl::Status WritePrivate(const std::string& path, const std::string& text, mode_t mode) {
  const std::string temporary = path + ".new";
  (void)unlink(temporary.c_str());
  const int fd = open(temporary.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, mode);
  bool ok = fd >= 0 && write(fd, text.data(), text.size()) == static_cast<ssize_t>(text.size()) && fsync(fd) == 0;
  const int problem = errno;
  if (fd >= 0) close(fd);
  if (!ok) return absl::UnavailableError(absl::StrCat("cannot write '", temporary, "': ", std::strerror(problem)));
  if (rename(temporary.c_str(), path.c_str()) != 0) return absl::UnavailableError(absl::StrCat("cannot rename to '", path, "': ", std::strerror(errno)));
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<TlsIdentity> LoadTlsIdentity(const std::string& certificate_file, const std::string& key_file) {
  TlsIdentity identity;
  FULMAR_ASSIGN_OR_RETURN(identity.certificate_chain, ReadPem(certificate_file));
  FULMAR_ASSIGN_OR_RETURN(identity.private_key, ReadPem(key_file));
  FULMAR_RETURN_IF_ERROR(CheckPair(identity, certificate_file, key_file));
  return identity;
}

absl::StatusOr<TlsIdentity> SelfSignedIdentity(const std::string& dir, const std::vector<std::string>& names, absl::Duration renew_before) {
  const std::string certificate_file = absl::StrCat(dir, "/tls.crt"), key_file = absl::StrCat(dir, "/tls.key");
  absl::StatusOr<TlsIdentity> identity = LoadTlsIdentity(certificate_file, key_file);
  if (identity.ok() && StillGood(*identity, names, renew_before)) return identity;

  identity = MakeIdentity(names);
  FULMAR_RETURN_IF_ERROR(identity.status());
  FULMAR_RETURN_IF_ERROR(WritePrivate(key_file, identity->private_key, 0600));
  FULMAR_RETURN_IF_ERROR(WritePrivate(certificate_file, identity->certificate_chain, 0644));
  FULMAR_LOG(kInfo, "certificate_made", {{"file", certificate_file}, {"names", AlternativeNames(names)}});
  return identity;
}

std::vector<std::string> LocalNames() {
  std::vector<std::string> names = {"localhost", "127.0.0.1", "::1"};
  char host[256] = "";
  if (gethostname(host, sizeof host - 1) == 0 && host[0] != '\0' && std::strcmp(host, "localhost") != 0) names.emplace_back(host);
  return names;
}

}  // namespace fulmar::common
