#ifndef FULMAR_COMMON_BYTES_H_
#define FULMAR_COMMON_BYTES_H_

#include <cstddef>
#include <memory>
#include <string>
#include <string_view>
#include <utility>

namespace fulmar::common {

// An immutable run of bytes that keeps its memory alive: a body being sent while its segment goes away.
// Copying costs a reference count. Threads: like shared_ptr<const T>.
class SharedBytes {
 public:
  SharedBytes() = default;
  explicit SharedBytes(std::string bytes) {
    auto owner = std::make_shared<const std::string>(std::move(bytes));
    view_ = *owner;
    owner_ = std::move(owner);
  }
  SharedBytes(std::shared_ptr<const void> owner, std::string_view view) : owner_(std::move(owner)), view_(view) {}

  std::string_view view() const { return view_; }
  size_t size() const { return view_.size(); }
  bool empty() const { return view_.empty(); }
  SharedBytes Sub(size_t offset, size_t size) const { return {owner_, view_.substr(offset, size)}; }

 private:
  std::shared_ptr<const void> owner_;
  std::string_view view_;
};

}  // namespace fulmar::common

#endif  // FULMAR_COMMON_BYTES_H_
