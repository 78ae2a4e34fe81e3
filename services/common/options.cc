#include "services/common/options.h"

#include <unistd.h>
#include <yaml-cpp/yaml.h>

#include <algorithm>
#include <set>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_replace.h"
#include "absl/strings/str_split.h"
#include "services/common/status.h"

namespace fulmar::common {
namespace {

std::string Quoted(std::string_view text) { return absl::StrCat("'", text, "'"); }

size_t EditDistance(std::string_view a, std::string_view b) {
  std::vector<size_t> row(b.size() + 1);
  for (size_t j = 0; j <= b.size(); ++j) row[j] = j;
  for (size_t i = 1; i <= a.size(); ++i) {
    size_t diagonal = std::exchange(row[0], i);
    for (size_t j = 1; j <= b.size(); ++j) {
      const size_t replaced = diagonal + (a[i - 1] == b[j - 1] ? 0 : 1);
      diagonal = std::exchange(row[j], std::min({row[j] + 1, row[j - 1] + 1, replaced}));
    }
  }
  return row.back();
}

// The variables that Kubernetes sets for a service called "fulmar-broker" look like ours.
bool IsFromKubernetes(std::string_view name, std::string_view value) {
  return absl::EndsWith(name, "_SERVICE_HOST") || absl::StrContains(name, "_SERVICE_PORT") ||
         absl::StrContains(name, "_PORT_") || absl::StartsWith(value, "tcp://") || absl::StartsWith(value, "udp://");
}

// One value of a YAML file with the key that leads to it.
struct YamlLeaf {
  std::string key;
  int line = 0;
  YAML::Node node;
};

void Flatten(const YAML::Node& node, const std::string& prefix, int line, std::vector<YamlLeaf>& out) {
  if (!node.IsMap()) {
    out.push_back({prefix, line, node});
    return;
  }
  for (const auto& entry : node) {
    const std::string name = entry.first.IsScalar() ? entry.first.Scalar() : "?";
    Flatten(entry.second, prefix.empty() ? name : absl::StrCat(prefix, ".", name), entry.first.Mark().line + 1, out);
  }
}

// The text of a scalar or of a list of scalars.
absl::StatusOr<std::string> YamlText(const YAML::Node& node, bool is_list) {
  if (node.IsScalar()) return node.Scalar();
  if (!node.IsSequence() || !is_list) return absl::InvalidArgumentError("is a list or a map, not one value");
  std::vector<std::string> items;
  for (const YAML::Node& item : node) {
    if (!item.IsScalar()) return absl::InvalidArgumentError("is a list of something else than texts");
    if (absl::StrContains(item.Scalar(), ","))
      return absl::InvalidArgumentError(absl::StrCat("has an item with a comma, ", Quoted(item.Scalar())));
    items.push_back(item.Scalar());
  }
  return absl::StrJoin(items, ",");
}

std::string YamlScalar(const std::string& text) {
  YAML::Emitter emitter;
  emitter << text;
  return emitter.c_str();
}

std::string YamlValue(const Option& option, const std::string& text) {
  if (!option.is_list) return YamlScalar(text);
  std::vector<std::string> items;
  for (const absl::string_view item : absl::StrSplit(text, ',', absl::SkipEmpty()))
    items.push_back(YamlScalar(std::string(item)));
  return absl::StrCat("[", absl::StrJoin(items, ", "), "]");
}

// `text` as comment lines of at most 100 characters.
std::string Comment(std::string_view text, size_t indent) {
  const std::string start = absl::StrCat(std::string(indent, ' '), "#");
  std::string out = start;
  size_t column = start.size();
  for (const absl::string_view word : absl::StrSplit(text, ' ', absl::SkipEmpty())) {
    if (column + 1 + word.size() > 100) {
      absl::StrAppend(&out, "\n", start);
      column = start.size();
    }
    absl::StrAppend(&out, " ", word);
    column += 1 + word.size();
  }
  return out + "\n";
}

std::string AppliesText(const Option& option) {
  return option.when == ApplyWhen::kLive ? "at once" : "after a restart";
}

std::string MarkdownCell(std::string_view text) { return absl::StrReplaceAll(text, {{"|", "\\|"}, {"\n", " "}}); }
std::string MarkdownCode(std::string_view text) {
  return text.empty() ? "" : absl::StrCat("`", MarkdownCell(text), "`");
}

std::string SectionOf(const Option& option) { return option.key.substr(0, option.key.find('.')); }

}  // namespace

// Collects what is wrong, so that all of it is said at once.
class OptionSet::Problems {
 public:
  explicit Problems(const OptionSet& set) {
    for (const Option& option : set.options()) known_.push_back(option.key);
  }

  void Add(std::string_view where, std::string_view what) { lines_.push_back(absl::StrCat(where, ": ", what)); }

  // `shape` turns a key into what the user would have to write.
  void AddUnknown(std::string_view where, std::string_view what, std::string_view key,
                  const std::function<std::string(const std::string&)>& shape) {
    const std::string nearest = NearestName(key, known_);
    Add(where, nearest.empty() ? absl::StrCat("unknown ", what)
                               : absl::StrCat("unknown ", what, ", did you mean ", Quoted(shape(nearest)), "?"));
  }

  absl::Status ToStatus() const {
    if (lines_.empty()) return absl::OkStatus();
    return absl::InvalidArgumentError(absl::StrCat("the configuration has ", lines_.size(),
                                                   lines_.size() == 1 ? " error:\n  " : " errors:\n  ",
                                                   absl::StrJoin(lines_, "\n  ")));
  }

 private:
  std::vector<std::string> known_;
  std::vector<std::string> lines_;
};

std::string Option::Flag() const { return absl::StrCat("--", key); }

std::string Option::Environment() const {
  return absl::StrCat("FULMAR_", absl::AsciiStrToUpper(absl::StrReplaceAll(key, {{".", "_"}})));
}

void OptionSet::Add(Option option) {
  for (const Option& other : options_)
    FULMAR_CHECK(other.key != option.key && other.Environment() != option.Environment(), option.key);
  options_.push_back(std::move(option));
}

absl::Status OptionSet::Load(const OptionSources& sources) {
  Problems problems(*this);
  LoadYaml(sources, problems);
  LoadEnvironment(sources, problems);
  LoadFlags(sources, problems);
  return problems.ToStatus();
}

const Option* OptionSet::Find(std::string_view key) const {
  const auto found = std::find_if(options_.begin(), options_.end(), [key](const Option& o) { return o.key == key; });
  return found == options_.end() ? nullptr : &*found;
}

void OptionSet::Set(const std::string& where, const std::string& key, const std::string& value, Problems& problems) {
  const absl::Status status = Find(key)->set(value);
  if (!status.ok()) problems.Add(where, absl::StrCat(Quoted(key), " = ", Quoted(value), " ", status.message()));
}

void OptionSet::LoadYaml(const OptionSources& sources, Problems& problems) {
  std::vector<YamlLeaf> leaves;
  try {  // yaml-cpp reports by exceptions; they end here
    const YAML::Node root = YAML::Load(sources.yaml);
    if (root.IsNull() || !root.IsDefined()) return;
    if (!root.IsMap()) return problems.Add(sources.yaml_name, "is not a map of sections and keys");
    Flatten(root, "", 1, leaves);
  } catch (const YAML::Exception& error) {
    return problems.Add(absl::StrCat(sources.yaml_name, ":", error.mark.line + 1),
                        absl::StrCat("is not YAML: ", error.msg));
  }

  std::set<std::string> seen;
  for (const YamlLeaf& leaf : leaves) {
    const std::string where = absl::StrCat(sources.yaml_name, ":", leaf.line);
    const Option* option = Find(leaf.key);
    if (option == nullptr) {
      const bool empty_section = leaf.node.IsNull() && std::any_of(options_.begin(), options_.end(), [&](const Option& o) {
                                   return absl::StartsWith(o.key, leaf.key + ".");
                                 });
      if (!empty_section)
        problems.AddUnknown(where, "key " + Quoted(leaf.key), leaf.key, [](const std::string& key) { return key; });
      continue;
    }
    if (!seen.insert(leaf.key).second) problems.Add(where, absl::StrCat(Quoted(leaf.key), " is there twice"));
    if (leaf.node.IsNull()) continue;  // "key:" with nothing behind it leaves the default
    const absl::StatusOr<std::string> text = YamlText(leaf.node, option->is_list);
    if (text.ok()) {
      Set(where, leaf.key, *text, problems);
    } else {
      problems.Add(where, absl::StrCat(Quoted(leaf.key), " ", text.status().message()));
    }
  }
}

void OptionSet::LoadEnvironment(const OptionSources& sources, Problems& problems) {
  std::set<std::string> sections;
  for (const Option& option : options_) sections.insert(absl::AsciiStrToUpper(SectionOf(option)));

  for (const auto& [name, value] : sources.environment) {
    const std::string where = absl::StrCat("environment ", name);
    const auto option = std::find_if(options_.begin(), options_.end(),
                                     [&name = name](const Option& o) { return o.Environment() == name; });
    if (IsFromKubernetes(name, value)) continue;
    if (option != options_.end()) {
      Set(where, option->key, value, problems);
      continue;
    }
    const bool ours = std::any_of(sections.begin(), sections.end(), [&name = name](const std::string& section) {
      return absl::StartsWith(name, absl::StrCat("FULMAR_", section, "_"));
    });
    if (!ours) continue;
    const std::string as_key = absl::AsciiStrToLower(name.substr(sizeof("FULMAR_") - 1));
    problems.AddUnknown(where, "variable", as_key,
                        [this](const std::string& key) { return Find(key)->Environment(); });
  }
}

void OptionSet::LoadFlags(const OptionSources& sources, Problems& problems) {
  for (size_t i = 0; i < sources.flags.size(); ++i) {
    const std::string& flag = sources.flags[i];
    if (!absl::StartsWith(flag, "--")) {
      problems.Add(flag, "unexpected argument");
      continue;
    }
    const size_t equals = flag.find('=');
    const std::string key = flag.substr(2, equals == std::string::npos ? equals : equals - 2);
    const bool has_next = i + 1 < sources.flags.size() && !absl::StartsWith(sources.flags[i + 1], "--");
    const Option* option = Find(key);
    if (option == nullptr) {
      problems.AddUnknown("--" + key, "flag", key, [](const std::string& known) { return "--" + known; });
      if (equals == std::string::npos && has_next) ++i;  // its value, most likely
    } else if (equals != std::string::npos) {
      Set("--" + key, key, flag.substr(equals + 1), problems);
    } else if (option->is_bool) {
      Set("--" + key, key, "true", problems);
    } else if (has_next) {
      Set("--" + key, key, sources.flags[++i], problems);
    } else {
      problems.Add("--" + key, "the value is missing");
    }
  }
}

std::string OptionSet::DescribeMarkdown() const {
  std::string out;
  std::string section;
  for (const Option& option : options_) {
    if (SectionOf(option) != section) {
      section = SectionOf(option);
      absl::StrAppend(&out, out.empty() ? "" : "\n", "## ", section, "\n\n",
                      "| key | type | default | allowed | applies | meaning |\n|---|---|---|---|---|---|\n");
    }
    absl::StrAppend(&out, "| ", MarkdownCode(option.key), " | ", option.type, " | ", MarkdownCode(option.default_value),
                    " | ", MarkdownCell(option.allowed), " | ", AppliesText(option), " | ", MarkdownCell(option.help),
                    " |\n");
  }
  return out;
}

std::string OptionSet::DescribeYaml() const {
  return YamlOf(true, [](const Option& option) { return option.default_value; });
}

std::string OptionSet::EffectiveYaml() const {
  return YamlOf(false, [](const Option& option) { return option.get(); });
}

std::string OptionSet::YamlOf(bool with_comments, const std::function<std::string(const Option&)>& value) const {
  // Options of one level come together whatever the order of rows is, and levels in the order of their first row.
  std::vector<const Option*> ordered;
  for (const Option& option : options_) {
    const auto level = [](const Option& o) { return o.key.substr(0, o.key.find_last_of('.')); };
    const auto same = [&](const Option* other) { return level(*other) == level(option); };
    const auto same_section = [&](const Option* other) { return SectionOf(*other) == SectionOf(option); };
    auto after = std::find_if(ordered.rbegin(), ordered.rend(), same);
    if (after == ordered.rend()) after = std::find_if(ordered.rbegin(), ordered.rend(), same_section);
    ordered.insert(after == ordered.rend() ? ordered.end() : after.base(), &option);
  }

  std::string out;
  std::vector<std::string> open;  // the levels that the last line is in
  for (const Option* option : ordered) {
    std::vector<std::string> path = absl::StrSplit(option->key, '.');
    const std::string name = path.back();
    path.pop_back();
    const auto [differs, unused] = std::mismatch(open.begin(), open.end(), path.begin(), path.end());
    for (size_t depth = static_cast<size_t>(differs - open.begin()); depth < path.size(); ++depth)
      absl::StrAppend(&out, std::string(2 * depth, ' '), path[depth], ":\n");
    open = path;
    const size_t indent = 2 * path.size();
    if (with_comments) {
      out += Comment(option->help, indent);
      out += Comment(absl::StrCat("Type ", option->type, option->allowed.empty() ? "" : ", ", option->allowed,
                                  "; a change applies ", AppliesText(*option), "."),
                     indent);
    }
    absl::StrAppend(&out, std::string(indent, ' '), name, ": ", YamlValue(*option, value(*option)), "\n");
  }
  return out;
}

std::vector<std::pair<std::string, std::string>> SystemEnvironment() {
  std::vector<std::pair<std::string, std::string>> variables;
  for (char** variable = environ; *variable != nullptr; ++variable)
    variables.push_back(absl::StrSplit(std::string_view(*variable), absl::MaxSplits('=', 1)));
  return variables;
}

std::string OptionKey(std::string_view section, std::string_view groups, std::string_view name) {
  for (const absl::string_view group : absl::StrSplit(groups, ' ', absl::SkipEmpty())) {
    const std::string prefix = absl::StrCat(group, "_");
    if (absl::StartsWith(name, prefix)) return absl::StrCat(section, ".", group, ".", name.substr(prefix.size()));
  }
  return absl::StrCat(section, ".", name);
}

std::string NearestName(std::string_view text, const std::vector<std::string>& known) {
  std::string nearest;
  size_t best = std::max<size_t>(2, text.size() / 2) + 1;
  for (const std::string& name : known) {
    const size_t distance = EditDistance(text, name);
    if (distance >= best) continue;
    best = distance;
    nearest = name;
  }
  return nearest;
}

}  // namespace fulmar::common
