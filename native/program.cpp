#include "program.h"

#include <cstring>
#include <string>

#include "check_op.h"
#include "error.h"

namespace partlens {

namespace {

constexpr int32_t MAGIC = 0x504c;
constexpr int32_t VERSION = 1;
constexpr int64_t ALIGN = 64;
constexpr int64_t MAX_ELEMENTS = int64_t{1} << 31;
// Backends round channels and features up to 16 at most, and count those of one row as int.
constexpr int64_t PADDING = 15;

// Reads the words of a program in order and refuses to read past the end.
class Reader {
 public:
  explicit Reader(const std::vector<int32_t>& words) : words_(words) {}

  int32_t next() {
    check(at_ < words_.size(), "E_INTERNAL", "[program] it ends too early");
    return words_[at_++];
  }

  int32_t next_in(int32_t low, int32_t high, const char* what) {
    const int32_t word = next();
    check(word >= low && word <= high, "E_INTERNAL",
          std::string("[program] Expected ") + what + " in " + std::to_string(low) + ".." +
              std::to_string(high) + " but received " + std::to_string(word) + ".");
    return word;
  }

  int32_t left() const { return static_cast<int32_t>(words_.size() - at_); }

 private:
  const std::vector<int32_t>& words_;
  size_t at_ = 0;
};

PlTensor read_slot(Reader& reader, const PlBackend& backend, char* arena, int64_t arena_bytes) {
  PlTensor slot = {};
  slot.dtype = reader.next();
  slot.layout = reader.next();
  slot.rank = reader.next();
  for (int32_t& size : slot.dims) size = reader.next();
  for (int32_t& size : slot.chw) size = reader.next();
  const int64_t offset = reader.next() * ALIGN;
  check_tensor(slot);
  const int64_t bytes = backend.bytes_of(&slot);
  check(offset >= 0 && bytes >= 0 && offset + bytes <= arena_bytes, "E_INTERNAL",
        "[program] a slot lies outside the arena");
  slot.data = arena + offset;
  return slot;
}

int32_t attrs_words(const PlBackend& backend, const PlKernelEntry& kernel) {
  for (int32_t i = 0; i < backend.attrs_count; i++) {
    if (!strcmp(backend.attrs[i].name, kernel.attrs)) return backend.attrs[i].bytes / 4;
  }
  throw Error("E_INTERNAL", std::string("[program] no attributes ") + kernel.attrs);
}

Op read_op(Reader& reader, const PlBackend& backend, const std::vector<PlTensor>& slots) {
  Op op;
  op.kernel = &backend.kernels[reader.next_in(0, backend.kernel_count - 1, "a kernel")];
  const int32_t count = op.kernel->input_count + op.kernel->output_count;
  reader.next_in(count, count, op.kernel->name);
  for (int32_t i = 0; i < count; i++) {
    const int32_t slot = reader.next_in(-1, static_cast<int32_t>(slots.size()) - 1, "a slot");
    op.tensors.push_back(slot < 0 ? PlTensor{} : slots[slot]);
  }
  // NoAttrs has one field that nothing reads: a program may leave it out.
  const int32_t wanted = attrs_words(backend, *op.kernel);
  const int32_t given = reader.next_in(0, wanted, op.kernel->attrs);
  check(given == wanted || !strcmp(op.kernel->attrs, "NoAttrs"), "E_INTERNAL",
        std::string("[program] too few attributes for ") + op.kernel->name);
  for (int32_t i = 0; i < given; i++) op.attrs.push_back(reader.next());
  op.attrs.resize(wanted);
  check_op(op, backend);
  return op;
}

}  // namespace

int64_t element_count(const PlTensor& tensor) {
  int64_t count = 1;
  for (int32_t i = 0; i < tensor.rank; i++) count *= tensor.dims[i];
  return count;
}

void check_tensor(const PlTensor& t) {
  const bool four = t.layout == PL_MAPS || t.layout == PL_CONV_WEIGHT || t.layout == PL_PICTURE;
  const bool rank = four                           ? t.rank == 4
                    : t.layout == PL_LINEAR_WEIGHT ? t.rank == 2
                                                   : t.rank >= 0 && t.rank <= 2;
  const bool kinds =
      (t.dtype == PL_F32 || t.dtype == PL_I32) && t.layout >= PL_ROWS && t.layout <= PL_PICTURE;
  check(kinds && rank, "E_INTERNAL", "[program] a slot has no known type");
  int64_t count = 1;
  for (int32_t size : t.dims) {
    check(size >= 1, "E_INTERNAL", "[program] a slot has a size below 1");
    count *= size;
    check(count < MAX_ELEMENTS && size + PADDING < MAX_ELEMENTS, "E_INTERNAL",
          "[program] a slot is too large");
  }
  if (t.chw[0] == 0) return;
  const int64_t flat = int64_t{1} * t.chw[0] * t.chw[1];
  check(!four && t.rank == 2 && t.chw[0] > 0 && t.chw[1] > 0 && t.chw[2] > 0 &&
            flat < MAX_ELEMENTS && flat * t.chw[2] == t.dims[1],
        "E_INTERNAL", "[program] a flattened axis does not fit its (C, H, W)");
  check((t.chw[0] + PADDING) * t.chw[1] * t.chw[2] < MAX_ELEMENTS, "E_INTERNAL",
        "[program] a flattened axis is too large");
}

Program decode_program(const std::vector<int32_t>& words, const PlBackend& backend, char* arena,
                       int64_t arena_bytes) {
  Reader reader(words);
  reader.next_in(MAGIC, MAGIC, "the mark of a program");
  reader.next_in(VERSION, VERSION, "a program version");
  const int32_t slots = reader.next_in(0, reader.left() / 11, "slots");
  const int32_t ops = reader.next_in(0, reader.left() / 3, "ops");
  Program program;
  for (int32_t i = 0; i < slots; i++) {
    program.slots.push_back(read_slot(reader, backend, arena, arena_bytes));
  }
  for (int32_t i = 0; i < ops; i++) program.ops.push_back(read_op(reader, backend, program.slots));
  check(reader.left() == 0, "E_INTERNAL", "[program] it goes on after its last op");
  program.nanoseconds.resize(program.ops.size());
  return program;
}

}  // namespace partlens
