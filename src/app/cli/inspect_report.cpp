#include "app/cli/inspect_report.h"

#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <set>
#include <vector>

#include "app/cli/text_table.h"
#include "packhorse/packhorse.h"

namespace packhorse::cli {
namespace {

using nlohmann::json;

std::string size_text(double bytes) {
  const char* const units[] = {"B", "KiB", "MiB", "GiB", "TiB"};
  size_t unit = 0;
  while (bytes >= 1024 && unit + 1 < std::size(units)) bytes /= 1024, ++unit;
  return fmt::format("{:.{}f} {}", bytes, unit ? 1 : 0, units[unit]);
}

std::string shape_text(const json& shape) {
  std::string text;
  for (const json& size : shape) text += fmt::format("{}{}", text.empty() ? "" : "x", size.get<uint64_t>());
  return text;
}

/// A module name taken apart: "model.layers.{}.mlp" and the numbers of its holes.
struct Pattern {
  std::string text;
  std::vector<uint64_t> numbers;
};

Pattern pattern_of(const std::string& name) {
  constexpr size_t kMaxDigits = 9;
  Pattern out;
  for (size_t begin = 0; begin <= name.size();) {
    const size_t end = std::min(name.find('.', begin), name.size());
    const std::string part = name.substr(begin, end - begin);
    const bool is_number =
        !part.empty() && part.size() <= kMaxDigits && part.find_first_not_of("0123456789") == part.npos;
    if (is_number) out.numbers.push_back(std::stoull(part));
    out.text += (out.text.empty() ? "" : ".") + (is_number ? "{}" : part);
    begin = end + 1;
  }
  return out;
}

/// "0-3,7" of {0, 1, 2, 3, 7}.
std::string ranges_text(const std::set<uint64_t>& numbers) {
  std::string text;
  for (auto first = numbers.begin(); first != numbers.end();) {
    auto last = first;
    while (std::next(last) != numbers.end() && *std::next(last) == *last + 1) ++last;
    text += fmt::format("{}{}", text.empty() ? "" : ",", *first);
    if (last != first) text += fmt::format("-{}", *last);
    first = std::next(last);
  }
  return text;
}

/// Modules that differ by the numbers in their names alone.
struct Group {
  const json* module = nullptr;  // the first
  Pattern pattern;
  std::vector<std::set<uint64_t>> numbers;  // of each hole
  uint64_t count = 0, bytes = 0;

  std::string name() const {
    std::string text = pattern.text;
    for (const std::set<uint64_t>& hole : numbers) text.replace(text.find("{}"), 2, ranges_text(hole));
    return text;
  }
};

std::vector<Group> group_modules(const json& modules, bool each_alone) {
  std::vector<Group> groups;
  std::map<std::string, size_t> known;
  for (const json& module : modules) {
    Pattern pattern = pattern_of(module.at("name").get<std::string>());
    json key = module;
    key.erase("name");
    key["pattern"] = each_alone ? module.at("name").get<std::string>() : pattern.text;
    const auto [at, is_new] = known.emplace(key.dump(-1, ' ', false, json::error_handler_t::replace), groups.size());
    if (is_new) {
      const size_t n_holes = pattern.numbers.size();
      groups.push_back({&module, std::move(pattern), std::vector<std::set<uint64_t>>(n_holes)});
      pattern = groups.back().pattern;
    }
    Group& group = groups[at->second];
    for (size_t i = 0; i < pattern.numbers.size(); ++i) group.numbers[i].insert(pattern.numbers[i]);
    group.count += 1;
    group.bytes += module.at("bytes").get<uint64_t>();
  }
  return groups;
}

std::vector<std::string> reasons(const json& module) {
  std::vector<std::string> lines;
  for (const json& candidate : module.value("candidates", json::array())) {
    const json& why_not = candidate.at("why_not");
    lines.push_back(fmt::format("{} {}: {}", candidate.at("phase").get<std::string>(),
                                candidate.at("kernel").get<std::string>(),
                                why_not.is_null() ? "chosen" : why_not.get<std::string>()));
  }
  return lines;
}

std::string kernel_text(const json& module) {
  const auto decode = module.at("decode").get<std::string>(), prefill = module.at("prefill").get<std::string>();
  return decode == prefill ? decode : fmt::format("{} (prefill: {})", decode, prefill);
}

std::string modules_text(const json& modules) {
  const bool explained = std::ranges::any_of(modules, [](const json& module) { return module.contains("candidates"); });
  TextTable table;
  std::vector<std::string> codes;  // encodings with their kernels, too long for a column
  table.add({"module", "count", "format", "bits", "shape", "size", "as"});
  for (const Group& group : group_modules(modules, explained)) {
    const json& module = *group.module;
    const bool shared = module.value("shared", false);
    const std::string code =
        fmt::format("{}; {}", printable(module.at("encoding").get<std::string>(), 256), kernel_text(module));
    const auto known = std::ranges::find(codes, code);
    const auto number = known - codes.begin() + 1;
    if (known == codes.end()) codes.push_back(code);
    table.add({printable(group.name(), 256), fmt::format("{}", group.count),
               printable(module.at("format").get<std::string>()),
               fmt::format("{:.2f}", module.at("bits_per_weight").get<double>()), shape_text(module.at("shape")),
               shared ? "shared" : size_text(static_cast<double>(group.bytes)), fmt::format("({})", number)},
              reasons(module));
  }
  std::string text = table.text() + "\n";
  for (size_t i = 0; i < codes.size(); ++i) text += wrapped(fmt::format("({}) {}", i + 1, codes[i]), 4) + "\n";
  return text;
}

std::string joined(const json& words) {
  std::string text;
  for (const json& word : words) text += (text.empty() ? "" : ", ") + word.get<std::string>();
  return text;
}

std::string yes_or_no(const json& value) { return value.get<bool>() ? "yes" : "no"; }

}  // namespace

std::string model_report(const json& info) {
  const auto head = [&](const char* key) { return printable(info.at(key).get<std::string>(), 4096); };
  return fmt::format("model: {}\n", head("model")) +
         fmt::format("architecture: {}, quantization {}, dtype {}, kv cache {}, context {}\n", head("architecture"),
                     head("quantization"), head("dtype"), head("kv_cache_dtype"),
                     info.at("max_model_len").get<int64_t>()) +
         fmt::format("runs on: {}, {} threads\n\n", head("isa"), info.at("threads").get<int64_t>()) +
         modules_text(info.at("modules")) +
         fmt::format("\nparameters: {:.1f} M in {} modules, {:.2f} bits per weight on average\n",
                     info.at("n_weights").get<double>() / 1e6, info.at("modules").size(),
                     info.at("bits_per_weight").get<double>()) +
         fmt::format("memory: weights {}, kv cache {}\n", size_text(info.at("weight_bytes").get<double>()),
                     size_text(info.at("kv_cache_bytes").get<double>()));
}

std::string formats_report(const json& info) {
  std::string text;
  std::vector<std::string> titles = {"method", "prequantized", "in flight"};
  for (const json& device : info.at("devices")) {
    titles.push_back(device.at("name").get<std::string>());
    if (device.at("built").empty()) continue;
    text += fmt::format("{}: built for {}; this machine has {}\n", titles.back(), joined(device.at("built")),
                        device.at("usable").empty() ? "none of them" : joined(device.at("usable")));
  }
  TextTable table;
  table.add(titles);
  for (const json& method : info.at("methods")) {
    std::vector<std::string> cells = {method.at("name").get<std::string>(), yes_or_no(method.at("prequantized")),
                                      yes_or_no(method.at("in_flight"))};
    for (size_t i = cells.size(); i < titles.size(); ++i)
      cells.push_back(method.at("devices").at(titles[i]).get<std::string>());
    std::vector<std::string> notes;
    if (!method.at("aliases").empty()) notes.push_back("likewise " + joined(method.at("aliases")));
    const json& made = method.at("by_default");
    if (method.at("in_flight").get<bool>())
      notes.push_back("in flight: " + (made.is_null() ? "as its settings say" : made.get<std::string>()));
    if (!method.at("settings").empty()) notes.push_back("settings: " + joined(method.at("settings")));
    table.add(std::move(cells), std::move(notes));
  }
  text += "\n" + table.text();
  std::vector<std::pair<std::string, std::string>> refused;  // why, and the names
  for (const json& entry : info.at("refused")) {
    const auto name = entry.at("name").get<std::string>();
    auto why = entry.at("why").get<std::string>();
    const std::string subject = fmt::format("quantization '{}' ", name);
    if (why.starts_with(subject)) why.erase(0, subject.size());
    auto same = std::ranges::find(refused, why, &std::pair<std::string, std::string>::first);
    if (same == refused.end()) same = refused.insert(same, {why, ""});
    same->second += (same->second.empty() ? "" : ", ") + name;
  }
  if (!refused.empty()) text += "\nrefused:\n";
  for (const auto& [why, names] : refused) text += "  " + wrapped(fmt::format("{}: {}", names, why), 4) + "\n";
  return text;
}

}  // namespace packhorse::cli
