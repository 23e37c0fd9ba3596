#pragma once
// Which files of a repo a model needs.

#include <string>
#include <vector>

#include "engine/hub/reference.h"

namespace packhorse::hub {

enum class Need : uint8_t {
  model,
  text,      // of a model, as far as that is not in the file of the weights
  tokenizer  // of a repo that is named for its tokenizer alone
};

struct FileChoice {
  std::vector<std::string> small;    // configs, tokenizer, templates
  std::vector<std::string> weights;  // .safetensors or .gguf files, when no index names them
  std::string index;                 // names the weights
  std::string gguf;                  // the file to open, of a split set the first; empty = the folder
  bool is_default_gguf = false;      // chosen among all that the repo has, without a tag or a file name
};

/// Chooses from the paths in a repo. Pickle files, subfolders of a safetensors repo and second copies of the weights
/// are never among them. Throws Error{model} with what there is when nothing or more than one thing fits.
FileChoice choose_files(const Reference& reference, Need need, const std::vector<std::string>& paths);

/// The shards that the index file at `path` names. Throws Error{model, io}.
std::vector<std::string> shards_of_index(const std::string& path);

}  // namespace packhorse::hub
