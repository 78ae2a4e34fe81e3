#include "services/broker/body_digest.h"

#include <openssl/evp.h>
#include <zlib.h>

#include <charconv>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "services/common/errors.h"
#include "services/common/status.h"

namespace fulmar::broker {
namespace {

enum DigestType : int32_t { kCrc32 = 1, kMd5 = 2, kSha1 = 3 };  // v2 numbers

std::string Hex(const unsigned char* bytes, size_t size) {
  constexpr char kDigits[] = "0123456789ABCDEF";
  std::string text(2 * size, '\0');
  for (size_t i = 0; i < size; ++i) {
    text[2 * i] = kDigits[bytes[i] >> 4];
    text[2 * i + 1] = kDigits[bytes[i] & 15];
  }
  return text;
}

std::string Digest(EVP_MD_CTX* context, const EVP_MD* algorithm, std::string_view body) {
  unsigned char digest[EVP_MAX_MD_SIZE];
  unsigned int size = 0;
  FULMAR_CHECK(EVP_DigestInit_ex2(context, algorithm, nullptr) == 1 && EVP_DigestUpdate(context, body.data(), body.size()) == 1 &&
               EVP_DigestFinal_ex(context, digest, &size) == 1);
  return Hex(digest, size);
}

bool IsNumber(std::string_view text, uint32_t wanted, int base) {
  uint32_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value, base);
  return error == std::errc() && end == text.data() + text.size() && value == wanted;
}

uint32_t Crc32Of(std::string_view body) {
  return static_cast<uint32_t>(crc32_z(0, reinterpret_cast<const Bytef*>(body.data()), body.size()));
}

}  // namespace

struct BodyDigester::Contexts {
  std::unique_ptr<EVP_MD, decltype(&EVP_MD_free)> md5{EVP_MD_fetch(nullptr, "MD5", nullptr), EVP_MD_free};
  std::unique_ptr<EVP_MD, decltype(&EVP_MD_free)> sha1{EVP_MD_fetch(nullptr, "SHA1", nullptr), EVP_MD_free};
  std::unique_ptr<EVP_MD_CTX, decltype(&EVP_MD_CTX_free)> context{EVP_MD_CTX_new(), EVP_MD_CTX_free};
};

BodyDigester::BodyDigester() : contexts_(std::make_unique<Contexts>()) {
  FULMAR_CHECK(contexts_->md5 != nullptr && contexts_->sha1 != nullptr && contexts_->context != nullptr, "OpenSSL has no MD5 or SHA1");
}
BodyDigester::~BodyDigester() = default;
BodyDigester::BodyDigester(BodyDigester&&) noexcept = default;

std::string BodyDigester::Md5(std::string_view body) { return Digest(contexts_->context.get(), contexts_->md5.get(), body); }

absl::Status BodyDigester::Check(const wire::DigestView& digest, std::string_view md5, std::string_view body) {
  if (digest.checksum.empty()) return absl::OkStatus();
  bool same = true;
  switch (digest.type) {
    case kMd5: same = absl::EqualsIgnoreCase(digest.checksum, md5); break;
    case kSha1: same = absl::EqualsIgnoreCase(digest.checksum, Digest(contexts_->context.get(), contexts_->sha1.get(), body)); break;
    case kCrc32: {
      const uint32_t crc = Crc32Of(body);
      same = IsNumber(digest.checksum, crc, 16) || IsNumber(digest.checksum, crc, 10);
      break;
    }
    default: break;  // an algorithm of the future: nothing to compare with
  }
  if (same) return absl::OkStatus();
  return errors::MessageCorrupted(absl::StrCat("the body of ", body.size(), " bytes does not have the digest that was sent with it"));
}

}  // namespace fulmar::broker
