#ifndef FULMAR_BROKER_SQL_FILTER_TESTING_H_
#define FULMAR_BROKER_SQL_FILTER_TESTING_H_

#include <string>
#include <utility>
#include <vector>

#include "services/broker/wire_writer.h"

namespace fulmar::broker {

// The entries of Message.user_properties as a record keeps them, in this order.
inline std::string WireProperties(const std::vector<std::pair<std::string, std::string>>& properties) {
  std::string out;
  wire::Writer write(out);
  for (const auto& [key, value] : properties) {
    write.Message(2, [&] {
      write.Bytes(1, key);
      write.Bytes(2, value);
    });
  }
  return out;
}

}  // namespace fulmar::broker

#endif  // FULMAR_BROKER_SQL_FILTER_TESTING_H_
