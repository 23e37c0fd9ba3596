#pragma once
// Values of template expressions, as Python sees them.
//
// Strings are immutable and counted. Containers, macros and scopes can form cycles (a namespace that holds itself), so
// they belong to the Heap of one render and go with it; values point to them.

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>
#include <variant>
#include <vector>

#include "text/jinja/budget.h"

namespace packhorse::jinja {

/// Valid UTF-8.
struct Text {
  Text(std::string text, Budget* payer, bool markup = false);
  ~Text();
  Text(const Text&) = delete;
  Text& operator=(const Text&) = delete;

  bool one_byte_chars() const { return n_chars == bytes.size(); }

  std::string bytes;
  size_t n_chars;
  bool is_markup;  // came out of the filters "safe" or "escape"
  Budget* budget;  // pays for the memory; null for the literals of a template
};
using TextPtr = std::shared_ptr<const Text>;

struct Builtin;
struct List;
class Dict;
struct Namespace;
struct Method;
struct Macro;
struct Loop;

struct Undefined {
  TextPtr why;  // message of the error that using it raises
};
struct None {};

struct Value {
  using Data = std::variant<Undefined, None, bool, int64_t, double, TextPtr, List*, Dict*, Namespace*, const Builtin*,
                            Method*, Macro*, Loop*>;

  Value() : data(None{}) {}
  Value(None v) : data(v) {}
  Value(Undefined v) : data(std::move(v)) {}
  Value(bool v) : data(v) {}
  Value(int v) : data(static_cast<int64_t>(v)) {}
  Value(int64_t v) : data(v) {}
  Value(double v) : data(v) {}
  Value(TextPtr v) : data(std::move(v)) {}
  Value(List* v) : data(v) {}
  Value(Dict* v) : data(v) {}
  Value(Namespace* v) : data(v) {}
  Value(const Builtin* v) : data(v) {}
  Value(Method* v) : data(v) {}
  Value(Macro* v) : data(v) {}
  Value(Loop* v) : data(v) {}
  template <class T>
  Value(const T*) = delete;  // would become a bool

  template <class T>
  const T* get() const {
    return std::get_if<T>(&data);
  }
  template <class T>
  bool is() const {
    return std::holds_alternative<T>(data);
  }

  bool is_undefined() const { return is<Undefined>(); }
  bool is_none() const { return is<None>(); }
  bool is_text() const { return is<TextPtr>(); }
  /// bool, int or float, as Python's numeric tower has it.
  bool is_number() const { return is<bool>() || is<int64_t>() || is<double>(); }
  bool is_callable() const { return is<const Builtin*>() || is<Method*>() || is<Macro*>() || is<Loop*>(); }

  /// Pointer or null.
  List* list() const { return pointer<List>(); }
  Dict* dict() const { return pointer<Dict>(); }
  Namespace* space() const { return pointer<Namespace>(); }
  /// Only when is_text().
  std::string_view bytes() const { return (*get<TextPtr>())->bytes; }
  /// Value of a bool or int; only when it is one.
  int64_t integer() const { return is<bool>() ? int64_t{*get<bool>()} : *get<int64_t>(); }
  bool is_integer() const { return is<bool>() || is<int64_t>(); }
  /// Only when is_number().
  double real() const { return is<double>() ? *get<double>() : static_cast<double>(integer()); }

  Data data;

 private:
  template <class T>
  T* pointer() const {
    T* const* p = get<T*>();
    return p ? *p : nullptr;
  }
};

/// Python's name of the type: "str", "dict", ...
std::string_view type_name(const Value& value);

struct Object {
  Object() = default;
  virtual ~Object() = default;
  Object(const Object&) = delete;
  Object& operator=(const Object&) = delete;
};

/// A Python list or tuple; `group` is the tuple of groupby, with the attributes grouper and list.
struct List final : Object {
  enum class Form : uint8_t { list, tuple, group };
  std::vector<Value> items;
  Form form = Form::list;
};

/// Keeps insertion order. Keys are none, numbers and strings, equal as in Python (1 == 1.0 == true).
class Dict final : public Object {
 public:
  using Item = std::pair<Value, Value>;

  const Value* find(const Value& key) const;
  const Value* find(std::string_view key) const;
  /// Returns whether the key is new.
  bool set(const Value& key, Value value);
  bool erase(const Value& key);
  const std::vector<Item>& items() const { return items_; }

  static bool can_be_key(const Value& key);

 private:
  template <class Equal>
  size_t position(size_t hash, Equal equal) const;

  std::vector<Item> items_;
  mutable std::unordered_multimap<size_t, size_t> index_;  // hash -> position; empty while the dict is small
};

struct Namespace final : Object {
  Dict* attributes = nullptr;
};

struct Method final : Object {
  Value self;
  const Builtin* builtin = nullptr;
};

/// Makes the values of one render and accounts for their memory.
class Heap {
 public:
  explicit Heap(Budget& budget) : budget_(budget) {}

  Value text(std::string bytes, bool is_markup = false);
  Value markup(std::string bytes) { return text(std::move(bytes), true); }
  template <class T>
  T* make() {
    budget_.take_memory(sizeof(T) + sizeof(std::unique_ptr<Object>));
    auto owned = std::make_unique<T>();
    T* object = owned.get();
    objects_.push_back(std::move(owned));
    return object;
  }
  List* list(std::vector<Value> items = {}, List::Form form = List::Form::list);
  List* tuple(std::vector<Value> items) { return list(std::move(items), List::Form::tuple); }

  void append(List& list, Value value);
  void set(Dict& dict, const Value& key, Value value);

  Budget& budget() { return budget_; }

 private:
  Budget& budget_;
  std::vector<std::unique_ptr<Object>> objects_;
};

}  // namespace packhorse::jinja
