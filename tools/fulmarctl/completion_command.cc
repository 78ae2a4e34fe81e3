#include <iostream>
#include <memory>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_replace.h"
#include "tools/fulmarctl/commands.h"

namespace fulmar::ctl {
namespace {

struct Place {
  std::string path;                 // "topic create"
  std::vector<std::string> words;   // subcommands and options that may follow
};

void Collect(const CLI::App& app, const std::string& path, std::vector<Place>& places) {
  Place place{path, {}};
  for (const CLI::App* sub : app.get_subcommands([](const CLI::App*) { return true; })) {
    place.words.push_back(sub->get_name());
  }
  for (const CLI::Option* option : app.get_options()) {
    for (const std::string& name : option->get_lnames()) place.words.push_back("--" + name);
  }
  places.push_back(std::move(place));
  for (const CLI::App* sub : app.get_subcommands([](const CLI::App*) { return true; })) {
    Collect(*sub, path.empty() ? sub->get_name() : absl::StrCat(path, " ", sub->get_name()), places);
  }
}

// The script follows the words typed so far down the tree of commands and offers what may come next. Made from the commands
// themselves, so it cannot fall behind them.
std::string BashScript(const std::vector<Place>& places) {
  std::string cases, offers;
  for (const Place& place : places) {
    if (!place.path.empty()) absl::StrAppend(&cases, "      \"", place.path, "\") path=$next ;;\n");
    absl::StrAppend(&offers, "    \"", place.path, "\") offer=\"", absl::StrJoin(place.words, " "), "\" ;;\n");
  }
  return absl::StrCat(R"(_fulmarctl() {
  local current=${COMP_WORDS[COMP_CWORD]} path="" next word offer=""
  for word in "${COMP_WORDS[@]:1:COMP_CWORD-1}"; do
    next="${path:+$path }$word"
    case "$next" in
)",
                      cases, R"(    esac
  done
  case "$path" in
)",
                      offers, R"(  esac
  COMPREPLY=($(compgen -W "$offer" -- "$current"))
}
complete -o default -F _fulmarctl fulmarctl
)");
}

std::string FishScript(const std::vector<Place>& places) {
  std::string out = "complete -c fulmarctl -f\n";
  for (const Place& place : places) {
    const std::string condition =
        place.path.empty() ? "__fish_use_subcommand"
                           : absl::StrCat("__fish_seen_subcommand_from ", absl::StrReplaceAll(place.path, {{" ", "; and __fish_seen_subcommand_from "}}));
    for (const std::string& word : place.words) {
      absl::StrAppend(&out, "complete -c fulmarctl -n '", condition, "' ", word.starts_with("--") ? "-l " + word.substr(2) : "-a " + word, "\n");
    }
  }
  return out;
}

}  // namespace

void AddCompletionCommand(CLI::App& app, Invocation& invocation) {
  CLI::App* completion = app.add_subcommand("completion", "Print a completion script: source <(fulmarctl completion bash)");
  auto shell = std::make_shared<std::string>();
  completion->add_option("SHELL", *shell, "bash, zsh or fish")->required()->check(CLI::IsMember({"bash", "zsh", "fish"}));
  completion->callback([&app, &invocation, shell] {
    invocation.run = [&app, shell](Session&) -> absl::Status {
      std::vector<Place> places;
      Collect(app, "", places);
      if (*shell == "zsh") std::cout << "autoload -U +X bashcompinit && bashcompinit\n";
      std::cout << (*shell == "fish" ? FishScript(places) : BashScript(places));
      return absl::OkStatus();
    };
  });
}

}  // namespace fulmar::ctl
