// Runs every kernel of a CUDA library on small shapes, for sanitizers and race checkers:
//   small_shapes LIBRARY [KERNEL]
// Outputs are poisoned with NaN first. Each case runs twice, then once more recorded and replayed:
// every element must be written and the bits must be the same. Prints one line per case and a hash
// of its results, so that runs under other thread orders can be compared; exit code 1 if one is
// wrong. What the numbers should be is for test/ops (emulated) and bench/gpu_check.py (on a device)
// to say.
#include <dlfcn.h>

#include <cstdio>
#include <cstring>
#include <map>
#include <sstream>
#include <string>
#include <vector>

#include "backend.h"
#include "small_shapes.h"

static const PlBackend* backend;

static void require(PlStatus status, const char* what) {
  if (status != PL_OK) throw std::runtime_error(std::string(what) + ": " + backend->last_error());
}

struct Generator {
  uint64_t state = 0x9e3779b97f4a7c15u;
  uint32_t next() {
    state ^= state << 13;
    state ^= state >> 7;
    state ^= state << 17;
    return static_cast<uint32_t>(state >> 32);
  }
  float uniform() { return static_cast<float>(next()) / 2147483648.0f - 1; }
};

// One argument: `maps 2 5 6 6`, `rows 3 60 chw 5 3 4`, `rows 4 < 7` (int32 below 7), `rows 3 +`
// (positive).
struct Argument {
  PlTensor tensor{};
  int below = 0;
  bool positive = false;
  bool absent = false;
  std::vector<uint32_t> values;

  explicit Argument(const std::string& text) {
    static const std::map<std::string, int> layouts = {{"rows", PL_ROWS},
                                                       {"maps", PL_MAPS},
                                                       {"conv", PL_CONV_WEIGHT},
                                                       {"linear", PL_LINEAR_WEIGHT}};
    std::istringstream words(text);
    std::string word;
    words >> word;
    absent = word == "none";
    if (absent) return;
    tensor.layout = layouts.at(word);
    for (int& dim : tensor.dims) dim = 1;
    while (words >> word) {
      if (word == "chw") {
        words >> tensor.chw[0] >> tensor.chw[1] >> tensor.chw[2];
      } else if (word == "<") {
        words >> below;
        tensor.dtype = PL_I32;
      } else if (word == "+") {
        positive = true;
      } else {
        tensor.dims[tensor.rank++] = std::stoi(word);
      }
    }
    size_t count = 1;
    for (int i = 0; i < tensor.rank; i++) count *= tensor.dims[i];
    values.resize(count);
  }

  void draw(Generator& random) {
    for (uint32_t& value : values) {
      if (below > 0) {
        value = random.next() % below;
        continue;
      }
      const float drawn = random.uniform(), real = positive ? drawn * drawn + 0.1f : drawn;
      memcpy(&value, &real, 4);
    }
  }
};

static std::vector<std::string> split(const std::string& text, char separator) {
  std::vector<std::string> parts;
  std::istringstream all(text);
  for (std::string part; std::getline(all, part, separator);) parts.push_back(part);
  return parts;
}

static std::vector<std::string> names_in(const char* list) {
  std::string text = list;
  text = text.substr(1, text.size() - 2);
  std::vector<std::string> names = split(text, ',');
  for (std::string& name : names) name.erase(0, name.find_first_not_of(' '));
  return names;
}

// The attributes' words from numbers, by the types of `i32 stride_h;f32 beta;`.
static std::vector<uint32_t> attrs_of(const PlKernelEntry& kernel,
                                      const std::vector<double>& numbers) {
  std::string fields;
  for (int i = 0; i < backend->attrs_count; i++) {
    if (!strcmp(backend->attrs[i].name, kernel.attrs)) fields = backend->attrs[i].fields;
  }
  std::vector<uint32_t> words;
  for (const std::string& field : split(fields, ';')) {
    const double number = words.size() < numbers.size() ? numbers[words.size()] : 0;
    const int32_t whole = static_cast<int32_t>(number);
    const float real = static_cast<float>(number);
    uint32_t word;
    memcpy(&word, field.rfind("f32", 0) == 0 ? static_cast<const void*>(&real) : &whole, 4);
    words.push_back(word);
  }
  return words;
}

class Run {
 public:
  Run(PlDevice* device, const PlKernelEntry& kernel, const Case& given)
      : device_(device), kernel_(kernel), attrs_(attrs_of(kernel, given.attrs)) {
    Generator random;
    std::vector<std::string> sides = {given.inputs, given.outputs};
    for (const std::string& side : sides) {
      for (const std::string& text : split(side, ';')) {
        arguments_.emplace_back(text);
        arguments_.back().draw(random);
      }
    }
    const size_t wanted = kernel.input_count + kernel.output_count;
    if (arguments_.size() != wanted) throw std::runtime_error("wrong number of arguments");
    for (Argument& argument : arguments_) {
      if (argument.absent) continue;
      const int64_t bytes = backend->bytes_of(&argument.tensor);
      require(backend->allocate(device, bytes, &argument.tensor.data), "allocate");
    }
    alias();
  }
  ~Run() {
    for (size_t i = 0; i < arguments_.size(); i++) {
      if (!aliases_.count(i)) backend->release(device_, arguments_[i].tensor.data);
    }
  }

  // Results of one call, all outputs in a row.
  std::vector<uint32_t> once(bool recorded) {
    for (size_t i = 0; i < arguments_.size(); i++) {
      Argument& argument = arguments_[i];
      if (argument.absent || aliases_.count(i)) continue;
      const std::vector<uint32_t> nan(argument.values.size(), 0xffffffffu);
      const bool input = i < static_cast<size_t>(kernel_.input_count);
      const std::vector<uint32_t>& values = input ? argument.values : nan;
      require(backend->upload(device_, &argument.tensor, values.data()), "upload");
    }
    recorded ? replayed() : call();
    std::vector<uint32_t> results;
    for (size_t i = kernel_.input_count; i < arguments_.size(); i++) {
      const Argument& argument = arguments_[i];
      if (argument.absent) continue;
      std::vector<uint32_t> values(argument.values.size());
      require(backend->download(device_, &argument.tensor, values.data()), "download");
      results.insert(results.end(), values.begin(), values.end());
    }
    return results;
  }

 private:
  // An output called <input>_out lives in the memory of that input.
  void alias() {
    const auto inputs = names_in(kernel_.inputs), outputs = names_in(kernel_.outputs);
    for (size_t o = 0; o < outputs.size(); o++) {
      for (size_t i = 0; i < inputs.size(); i++) {
        const size_t at = inputs.size() + o;
        if (outputs[o] != inputs[i] + "_out" || arguments_[at].absent) continue;
        backend->release(device_, arguments_[at].tensor.data);
        arguments_[at].tensor.data = arguments_[i].tensor.data;
        aliases_[at] = true;
      }
    }
  }
  void call() {
    std::vector<PlTensor> tensors;
    for (const Argument& argument : arguments_) tensors.push_back(argument.tensor);
    require(kernel_.run(device_, tensors.data(), attrs_.data()), "run");
  }
  void replayed() {
    PlRecording* recording = nullptr;
    require(backend->record_begin(device_), "record_begin");
    call();
    require(backend->record_end(device_, &recording), "record_end");
    const PlStatus status = backend->replay(device_, recording);
    backend->synchronize(device_);
    backend->discard(device_, recording);
    require(status, "replay");
  }

  PlDevice* device_;
  const PlKernelEntry& kernel_;
  std::vector<uint32_t> attrs_;
  std::vector<Argument> arguments_;
  std::map<size_t, bool> aliases_;
};

static uint64_t hash_of(const std::vector<uint32_t>& words) {
  uint64_t hash = 14695981039346656037u;
  for (const uint32_t word : words) hash = (hash ^ word) * 1099511628211u;
  return hash;
}

static std::string verdict(PlDevice* device, const PlKernelEntry& kernel, const Case& given,
                           uint64_t& hash) {
  try {
    Run run(device, kernel, given);
    const auto first = run.once(false);
    hash = hash_of(first);
    for (const uint32_t word : first) {
      if ((word & 0x7fffffffu) > 0x7f800000u) return "NaN";
    }
    if (run.once(false) != first) return "two runs differ";
    return run.once(true) == first ? "" : "the recorded run differs";
  } catch (const std::exception& error) {
    return error.what();
  }
}

static const PlKernelEntry* find(const std::string& name) {
  for (int i = 0; i < backend->kernel_count; i++) {
    if (name == backend->kernels[i].name) return &backend->kernels[i];
  }
  return nullptr;
}

static const PlBackend* load(const char* path) {
  void* library = dlopen(path, RTLD_NOW | RTLD_LOCAL);
  const char* reason = library ? "it has no entry pl_cuda_backend" : dlerror();
  typedef const PlBackend* (*Entry)(const char**);
  const Entry entry =
      library ? reinterpret_cast<Entry>(dlsym(library, "pl_cuda_backend")) : nullptr;
  const PlBackend* found = entry ? entry(&reason) : nullptr;
  if (!found) fprintf(stderr, "%s: %s\n", path, reason);
  return found;
}

int main(int count, char** arguments) {
  if (count < 2) {
    fprintf(stderr, "usage: small_shapes LIBRARY [KERNEL]\n");
    return 2;
  }
  backend = load(arguments[1]);
  if (!backend) return 2;
  std::map<std::string, int> seen;
  int failed = 0, passed = 0;
  const char* const precisions[] = {"fp32", "tf32", "bf16"};
  for (int precision = PL_FP32; precision <= PL_BF16; precision++) {
    const PlOptions options = {0, 0, precision, PL_FAST};
    PlDevice* device = nullptr;
    if (backend->open(&options, &device) != PL_OK) {
      fprintf(stderr, "open: %s\n", backend->last_error());
      return 2;
    }
    for (const Case& given : CASES) {
      const std::string name = given.kernel;
      seen[name]++;
      if ((precision != PL_FP32 && !given.product) || (count > 2 && name != arguments[2])) continue;
      const PlKernelEntry* kernel = find(name);
      uint64_t hash = 0;
      const std::string wrong = kernel ? verdict(device, *kernel, given, hash) : "no such kernel";
      printf("%s %s %s (%s) %016llx %s\n", wrong.empty() ? "ok    " : "FAILED",
             precisions[precision], given.kernel, given.inputs,
             static_cast<unsigned long long>(hash), wrong.c_str());
      wrong.empty() ? passed++ : failed++;
    }
    backend->close(device);
  }
  for (int i = 0; i < backend->kernel_count; i++) {
    if (seen[backend->kernels[i].name]) continue;
    printf("FAILED %s has no case\n", backend->kernels[i].name);
    failed++;
  }
  printf("%d passed, %d failed\n", passed, failed);
  return failed > 0;
}
