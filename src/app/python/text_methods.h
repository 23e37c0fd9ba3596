#pragma once
// What the extension's classes Engine and ModelText have in common: texts and chats.

#include <nanobind/nanobind.h>
#include <nanobind/stl/optional.h>
#include <nanobind/stl/string.h>
#include <nanobind/stl/string_view.h>
#include <nanobind/stl/vector.h>

#include <utility>

#include "app/python/conversions.h"
#include "app/python/shared_engine.h"

namespace packhorse::python {

inline const ModelText& text_side(const ModelText& text) { return text; }
inline const Engine& text_side(const SharedEngine& engine) { return engine.model(); }

template <class Model>
nanobind::str render_chat(const Model& model, std::string messages, std::string tools, std::string template_kwargs,
                          std::string chat_template, bool add_generation_prompt, bool continue_final_message) {
  return to_text(text_side(model).render_chat({.messages_json = std::move(messages),
                                               .tools_json = std::move(tools),
                                               .template_kwargs_json = std::move(template_kwargs),
                                               .chat_template = std::move(chat_template),
                                               .add_generation_prompt = add_generation_prompt,
                                               .continue_final_message = continue_final_message}));
}

template <class Model>
void add_text_methods(nanobind::class_<Model>& model) {
  namespace nb = nanobind;
  using namespace nb::literals;
  model
      .def(
          "tokenize",
          [](const Model& m, std::string_view text, bool special) { return text_side(m).tokenize(text, special); },
          "text"_a, "add_special_tokens"_a = true, "Token ids of a text.")
      .def(
          "detokenize",
          [](const Model& m, const std::vector<int32_t>& ids, bool skip) {
            return to_text(text_side(m).detokenize(ids, skip));
          },
          "token_ids"_a, "skip_special_tokens"_a = true, "Text of tokens.")
      .def("render_chat", &render_chat<Model>, "messages"_a, "tools"_a, "template_kwargs"_a, "chat_template"_a,
           "add_generation_prompt"_a, "continue_final_message"_a,
           "Prompt text of a chat. `messages`, `tools` and `template_kwargs` are JSON; a text that is empty is not "
           "given.")
      .def_prop_ro(
          "vocab_size", [](const Model& m) { return text_side(m).vocab_size(); },
          "Number of logits, or of tokens where there is no model.")
      .def_prop_ro(
          "eos_token_id", [](const Model& m) { return text_side(m).eos_token_id(); },
          "The token that ends an answer, of several the main one.")
      .def_prop_ro(
          "bos_token_id", [](const Model& m) { return text_side(m).bos_token_id(); }, "The token that begins a text.")
      .def_prop_ro(
          "chat_template", [](const Model& m) { return to_text(text_side(m).chat_template()); },
          "The chat template in use; empty when there is none.");
}

}  // namespace packhorse::python
