// Runs every kernel of a backend's library on small shapes, for sanitizers, race checkers and
// emulated machines:
//   small_shapes LIBRARY [--write FILE | --expect FILE] [KERNEL]
// Outputs are poisoned with NaN first. Each case runs twice, then once more recorded and replayed
// where the backend can: every element must be written and the bits must be the same. Prints one
// line per case and a hash of its results, so that runs under other thread orders can be compared;
// exit code 1 if one is wrong. What the numbers should be is for test/ops (emulated) and
// bench/gpu_check.py (on a device) to say, or for the results of another library: --write keeps
// them, --expect compares.
#include <dlfcn.h>

#include <cmath>
#include <cstdio>
#include <cstring>
#include <fstream>
#include <map>
#include <set>
#include <sstream>
#include <string>
#include <thread>
#include <vector>

#include "backend.h"
#include "small_shapes.h"

static const PlBackend* backend;

static constexpr float NEAR = 1e-4f;  // of the largest value; losses may cancel to a few digits

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

struct Output {
  bool real;  // float32, else int32
  std::vector<uint32_t> words;
  bool operator==(const Output& other) const { return words == other.words; }
  float at(size_t i) const {
    float value;
    memcpy(&value, &words[i], 4);
    return value;
  }
};

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

  // Results of one call, output by output.
  std::vector<Output> once(bool recorded) {
    for (size_t i = 0; i < arguments_.size(); i++) {
      Argument& argument = arguments_[i];
      if (argument.absent || aliases_.count(i)) continue;
      const std::vector<uint32_t> nan(argument.values.size(), 0xffffffffu);
      const bool input = i < static_cast<size_t>(kernel_.input_count);
      const std::vector<uint32_t>& values = input ? argument.values : nan;
      require(backend->upload(device_, &argument.tensor, values.data()), "upload");
    }
    recorded ? replayed() : call();
    std::vector<Output> results;
    for (size_t i = kernel_.input_count; i < arguments_.size(); i++) {
      const Argument& argument = arguments_[i];
      if (argument.absent) continue;
      std::vector<uint32_t> values(argument.values.size());
      require(backend->download(device_, &argument.tensor, values.data()), "download");
      results.push_back({argument.tensor.dtype == PL_F32, std::move(values)});
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
  // As for a session that is made on another thread meanwhile.
  void allocate_elsewhere() {
    std::string wrong;
    std::thread([&] {
      void* memory = nullptr;
      const PlStatus status = backend->allocate(device_, 256, &memory);
      if (status != PL_OK) wrong = std::string("allocate: ") + backend->last_error();
      backend->release(device_, memory);
    }).join();
    if (!wrong.empty()) throw std::runtime_error(wrong);
  }
  void replayed() {
    PlRecording* recording = nullptr;
    require(backend->record_begin(device_), "record_begin");
    allocate_elsewhere();
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

static uint64_t hash_of(const std::vector<Output>& outputs) {
  uint64_t hash = 14695981039346656037u;
  for (const Output& output : outputs) {
    for (const uint32_t word : output.words) hash = (hash ^ word) * 1099511628211u;
  }
  return hash;
}

// Results of another library on the same cases, one after the other.
struct Results {
  std::ofstream written;
  std::ifstream expected;
  float worst = 0;  // largest difference so far, of the largest value of its output

  void write(const std::vector<Output>& outputs) {
    for (const Output& output : outputs) {
      written.write(reinterpret_cast<const char*>(output.words.data()), output.words.size() * 4);
    }
  }

  // Empty where the outputs are those expected: integers the same, floats near.
  std::string compare(const std::vector<Output>& outputs) {
    std::string wrong;
    for (const Output& output : outputs) {
      Output other = output;
      expected.read(reinterpret_cast<char*>(other.words.data()), other.words.size() * 4);
      if (!expected) return "nothing is expected";
      if (!output.real) {
        if (!(output == other)) wrong = "other integers are expected";
        continue;
      }
      float difference = 0, largest = 0;
      for (size_t i = 0; i < other.words.size(); i++) {
        difference = std::max(difference, std::fabs(output.at(i) - other.at(i)));
        largest = std::max(largest, std::fabs(other.at(i)));
      }
      const float off = difference / std::max(largest, 1e-30f);
      worst = std::max(worst, off);
      if (!(off <= NEAR)) wrong = "off by " + std::to_string(off) + " of the largest value";
    }
    return wrong;
  }
};

static std::string verdict(PlDevice* device, const PlKernelEntry& kernel, const Case& given,
                           Results& results, uint64_t& hash) {
  try {
    Run run(device, kernel, given);
    const auto first = run.once(false);
    hash = hash_of(first);
    if (results.written.is_open()) results.write(first);
    const std::string wrong = results.expected.is_open() ? results.compare(first) : "";
    for (const Output& output : first) {
      for (size_t i = 0; i < output.words.size(); i++) {
        if (std::isnan(output.at(i))) return "NaN";
      }
    }
    if (!wrong.empty()) return wrong;
    if (!(run.once(false) == first)) return "two runs differ";
    return !backend->record_begin || run.once(true) == first ? "" : "the recorded run differs";
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
  const char* reason = library ? "it has no entry of a backend" : dlerror();
  typedef const PlBackend* (*Entry)(const char**);
  Entry entry = nullptr;
  for (const char* name : {"pl_cuda_backend", "pl_cpu_backend"}) {
    if (library && !entry) entry = reinterpret_cast<Entry>(dlsym(library, name));
  }
  const PlBackend* found = entry ? entry(&reason) : nullptr;
  if (!found) fprintf(stderr, "%s: %s\n", path, reason);
  return found;
}

// The ways to compute that a backend has; the first one runs every case.
struct Way {
  const char* name;
  PlOptions options;
};

static std::vector<Way> ways() {
  if (!strcmp(backend->name, "cpu")) {
    return {{"fast", {0, 2, PL_FP32, PL_FAST}},
            {"high", {0, 2, PL_FP32, PL_HIGH}},
            {"direct", {0, 2, PL_FP32, PL_DIRECT}}};
  }
  return {{"fp32", {0, 0, PL_FP32, PL_FAST}},
          {"tf32", {0, 0, PL_TF32, PL_FAST}},
          {"bf16", {0, 0, PL_BF16, PL_FAST}}};
}

struct Counts {
  int passed = 0, failed = 0;
};

// Runs the cases, of one kernel if it is named, in one way. False where there is no device.
static bool run_cases(const Way& way, bool all, const std::string& only, Results& results,
                      Counts& counts) {
  PlDevice* device = nullptr;
  if (backend->open(&way.options, &device) != PL_OK) {
    fprintf(stderr, "open: %s\n", backend->last_error());
    return false;
  }
  for (const Case& given : CASES) {
    if ((!all && !given.product) || (!only.empty() && only != given.kernel)) continue;
    const PlKernelEntry* kernel = find(given.kernel);
    uint64_t hash = 0;
    const std::string wrong =
        kernel ? verdict(device, *kernel, given, results, hash) : "no such kernel";
    printf("%s %s %s (%s) %016llx %s\n", wrong.empty() ? "ok    " : "FAILED", way.name,
           given.kernel, given.inputs, static_cast<unsigned long long>(hash), wrong.c_str());
    wrong.empty() ? counts.passed++ : counts.failed++;
  }
  backend->close(device);
  return true;
}

int main(int count, char** arguments) {
  std::string library, only;
  Results results;
  for (int i = 1; i < count; i++) {
    const std::string word = arguments[i];
    if (word == "--write" && i + 1 < count)
      results.written.open(arguments[++i], std::ios::binary);
    else if (word == "--expect" && i + 1 < count)
      results.expected.open(arguments[++i], std::ios::binary);
    else
      (library.empty() ? library : only) = word;
  }
  if (library.empty()) {
    fprintf(stderr, "usage: small_shapes LIBRARY [--write FILE | --expect FILE] [KERNEL]\n");
    return 2;
  }
  backend = load(library.c_str());
  if (!backend) return 2;
  Counts counts;
  bool all = true;
  for (const Way& way : ways()) {
    if (!run_cases(way, all, only, results, counts)) return 2;
    all = false;
  }
  std::set<std::string> seen;
  for (const Case& given : CASES) seen.insert(given.kernel);
  for (int i = 0; i < backend->kernel_count; i++) {
    if (seen.count(backend->kernels[i].name)) continue;
    printf("FAILED %s has no case\n", backend->kernels[i].name);
    counts.failed++;
  }
  if (results.expected.is_open()) printf("%s: at most %.1e off\n", backend->isa, results.worst);
  printf("%d passed, %d failed\n", counts.passed, counts.failed);
  return counts.failed > 0;
}
