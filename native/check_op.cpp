#include "check_op.h"

#include <algorithm>
#include <cctype>
#include <cstring>
#include <map>
#include <string>

#include "error.h"

namespace partlens {

namespace {

#define I32(field) int32_t field;
#define F32(field) float field;
#define ATTRS(name, fields) \
  struct name {             \
    fields                  \
  };
#include "attrs.def"
#undef ATTRS
#undef I32
#undef F32

// A kernel without a signature does not compile: signature_<kernel> is missing.
#define SIGNATURE(name, types) constexpr const char* signature_##name = types;
#include "signatures.def"
#undef SIGNATURE
constexpr struct {
  const char* name;
  const char* types;
} SIGNATURES[] = {
#define KERNEL(name, ins, outs, attrs) {#name, signature_##name},
#include "kernels.def"
#undef KERNEL
};

#define ACTIVATION(name) +1
constexpr int32_t ACTIVATIONS = 0
#include "kinds.def"
    ;
#undef ACTIVATION
#define BINARY(name) +1
constexpr int32_t BINARIES = 0
#include "kinds.def"
    ;
#undef BINARY

constexpr int32_t MAX_SIDE = 1 << 16;        // of padded maps, in cells: sums of sizes fit an int
constexpr int32_t MAX_PICTURE_CHANNELS = 8;  // NARROW of simd/conv_core.h
constexpr int64_t MAX_OFFSET = int64_t{1} << 31;  // kernels keep offsets inside an image as int

std::vector<std::string> split(const std::string& text, const std::string& separator) {
  std::vector<std::string> parts;
  for (size_t begin = 0; begin <= text.size();) {
    const size_t end = std::min(text.find(separator, begin), text.size());
    parts.push_back(text.substr(begin, end - begin));
    begin = end + separator.size();
  }
  return parts;
}

// Names in `(x, w, b)`.
std::vector<std::string> names_in(const char* list) {
  const std::string text = list;
  return split(text.substr(1, text.size() - 2), ", ");
}

struct Argument {
  std::string name;
  std::string type;
  PlTensor tensor;
  bool output;
};

class OpCheck {
 public:
  OpCheck(const Op& op, const PlBackend& backend) : op_(op), backend_(backend) {
    const auto* found = std::find_if(std::begin(SIGNATURES), std::end(SIGNATURES),
                                     [&](auto& s) { return !strcmp(s.name, op.kernel->name); });
    require(found != std::end(SIGNATURES), "has no signature");
    const auto types = split(found->types, ", ");
    auto names = names_in(op.kernel->inputs);
    const size_t inputs = names.size();
    for (auto& name : names_in(op.kernel->outputs)) names.push_back(name);
    require(names.size() == types.size() && names.size() == op.tensors.size(),
            "has another number of tensors");
    for (size_t i = 0; i < names.size(); i++) {
      arguments_.push_back({names[i], types[i], op.tensors[i], i >= inputs});
    }
  }

  void types() {
    for (const Argument& a : arguments_) {
      const auto words = split(a.type, " ");
      const bool same = words[0][0] == '=', absent = words[0] == "=?" && !a.tensor.data;
      if (absent) continue;
      if (same ? !is_like(a.tensor, argument(words[1]).tensor) : !fits(a)) refuse(a);
    }
  }

  // An output may share memory with nothing, `w_out` alone lies where w does.
  void places() {
    for (const Argument& out : arguments_) {
      if (!out.output || !out.tensor.data) continue;
      for (const Argument& other : arguments_) {
        if (&other == &out || !other.tensor.data) continue;
        const bool update = out.name == other.name + "_out";
        const bool right =
            update ? out.tensor.data == other.tensor.data : apart(out.tensor, other.tensor);
        require(right,
                out.name + (update ? " is not in the memory of " : " overlaps ") + other.name);
      }
    }
  }

  void attributes() {
    const std::string name = op_.kernel->attrs;
    if (name == "Conv2dAttrs") convolution(read<Conv2dAttrs>());
    if (name == "DepthwiseConv2dAttrs") convolution(read<DepthwiseConv2dAttrs>());
    if (name == "ExpandDepthwiseAttrs") {
      convolution(read<ExpandDepthwiseAttrs>());
      ending(read<ExpandDepthwiseAttrs>().expand_activation);
    }
    if (name == "GroupedConv2dAttrs") groups(read<GroupedConv2dAttrs>());
    if (name == "Pool2dAttrs") pooling(read<Pool2dAttrs>(), "H", "W");
    if (name == "MaskPoolAttrs") pooling(read<MaskPoolAttrs>(), "n", "m");
    if (name == "PadAttrs") padding(read<PadAttrs>());
    if (name == "SliceAttrs") slicing(read<SliceAttrs>());
    if (name == "EpsilonAttrs") {
      const PlTensor& x = argument("x").tensor;
      require(x.layout == PL_MAPS || (x.layout == PL_ROWS && x.chw[0] == 0),
              "normalises neither maps nor rows");
    }
    if (name == "GroupNormAttrs") {
      const int32_t groups = read<GroupNormAttrs>().groups;
      require(groups >= 1 && size("C") % groups == 0, "has groups of unequal size");
    }
    if (name == "LrnAttrs") {
      const int32_t size = read<LrnAttrs>().size;
      require(size >= 1 && size <= MAX_SIDE, "has a wrong window");
    }
    if (name == "ActivationAttrs") kind(read<ActivationAttrs>().kind, ACTIVATIONS);
    if (name == "BinaryAttrs") {
      kind(read<BinaryAttrs>().kind, BINARIES);
      broadcast(strcmp(op_.kernel->name, "binary_forward") ? "g" : "y");
    }
    const std::string op = op_.kernel->name;
    if (op == "affine_forward" || op == "affine_backward") value_per_channel(false);
    if (op == "prelu_forward" || op == "prelu_backward") value_per_channel(true);
    if (!strcmp(op_.kernel->name, "concat_forward")) {
      require(size("C") == int64_t{1} * size("A") + size("B"), "has another sum of channels");
    }
    if (!strcmp(op_.kernel->name, "concat_backward")) parts_of(argument("g").tensor);
    if (sizes_.count("T")) {  // filter_loss
      const int64_t cells = int64_t{1} * size("n") * size("m");
      require(size("T") == cells + 1 && (cells + 16) * (cells + 16) < MAX_OFFSET,
              "has another number of templates");
    }
  }

 private:
  struct Size {
    int32_t size;
    const int32_t* chw;  // of the flattened axis, or zeros
  };

  template <class Attrs>
  Attrs read() const {
    Attrs attrs;
    memcpy(&attrs, op_.attrs.data(), sizeof attrs);
    return attrs;
  }

  void require(bool condition, const std::string& what) const {
    check(condition, "E_INTERNAL", std::string("[program] ") + op_.kernel->name + " " + what + ".");
  }

  void refuse(const Argument& a) const {
    require(false, "expects " + a.type + " for " + a.name + " of other sizes");
  }

  int32_t size(const char* letter) const {
    const auto found = sizes_.find(letter);
    return found == sizes_.end() ? 1 : found->second.size;
  }

  const Argument& argument(const std::string& name) const {
    const auto found = std::find_if(arguments_.begin(), arguments_.end(),
                                    [&](const Argument& a) { return a.name == name; });
    require(found != arguments_.end(), "has no tensor " + name);
    return *found;
  }

  static bool is_like(const PlTensor& a, const PlTensor& b) {
    return a.data && b.data && a.dtype == b.dtype && a.layout == b.layout && a.rank == b.rank &&
           !memcmp(a.dims, b.dims, sizeof a.dims) && !memcmp(a.chw, b.chw, sizeof a.chw);
  }

  bool fits(const Argument& a) {
    auto words = split(a.type, " ");
    const bool whole = words[0] == "i32";
    if (whole) words.erase(words.begin());
    std::string layout = words[0];
    const bool optional = layout.back() == '?';
    if (optional) layout.pop_back();
    const PlTensor& t = a.tensor;
    if (!t.data) return optional;
    if (t.dtype != (whole ? PL_I32 : PL_F32)) return false;
    if (layout == "any") return t.layout != PL_PICTURE;
    static const char* const LAYOUTS[] = {"rows", "maps", "conv_weight", "linear_weight",
                                          "picture"};
    if (t.layout == PL_PICTURE && takes_picture(a)) layout = "picture";
    if (layout != LAYOUTS[t.layout] || t.rank != static_cast<int32_t>(words.size()) - 1)
      return false;
    static const int32_t NOT_FLAT[3] = {};
    for (int32_t axis = 0; axis < t.rank; axis++) {
      const int32_t* chw = axis == t.rank - 1 ? t.chw : NOT_FLAT;
      if (!agrees(words[axis + 1], {t.dims[axis], chw}, axis)) return false;
    }
    return true;
  }

  // A convolution packs the few channels of its x densely, from blocks or from a picture.
  bool takes_picture(const Argument& a) const {
    const bool convolution = !strcmp(op_.kernel->name, "conv2d_forward") && a.name == "x";
    return convolution && a.tensor.dims[1] <= MAX_PICTURE_CHANNELS &&
           read<Conv2dAttrs>().dilation_w == 1 && !strcmp(backend_.name, "cpu");
  }

  // The first axis of a tensor says nothing about flattening: biases and weights end and begin so.
  bool agrees(const std::string& letter, Size here, int32_t axis) {
    if (isdigit(letter[0])) return here.size == std::stoi(letter);
    const auto [known, is_new] = sizes_.insert({letter, here});
    if (is_new) return true;
    const bool flat = axis == 0 || !memcmp(known->second.chw, here.chw, sizeof(int32_t[3]));
    return known->second.size == here.size && flat;
  }

  bool apart(const PlTensor& a, const PlTensor& b) const {
    const char *first = static_cast<const char*>(a.data),
               *second = static_cast<const char*>(b.data);
    return first + backend_.bytes_of(&a) <= second || second + backend_.bytes_of(&b) <= first;
  }

  // Cells from the first to the last of a window.
  int64_t reach(int32_t window, int32_t dilation) const {
    require(window >= 1 && dilation >= 1 && dilation <= MAX_SIDE, "has a wrong window or dilation");
    return (int64_t{1} * window - 1) * dilation + 1;
  }

  void kind(int32_t kind, int32_t count) const {
    require(kind >= 0 && kind < count, "has an unknown kind");
  }

  // C values, or one, for the channels of maps or the features of rows.
  void value_per_channel(bool or_one) const {
    const PlTensor& x = arguments_[0].tensor;
    const int32_t channels = x.rank == 0 ? 1 : x.dims[x.layout == PL_MAPS ? 1 : x.rank - 1];
    require((x.layout == PL_MAPS || x.layout == PL_ROWS) &&
                (size("C") == channels || (or_one && size("C") == 1)),
            "has another number of channels");
  }

  // Each axis of `whole` is the longer of those of a and b, the other the same or 1.
  void broadcast(const char* whole) const {
    const PlTensor &y = argument(whole).tensor, &a = argument("a").tensor,
                   &b = argument("b").tensor;
    for (int axis = 0; axis < 4; axis++) {
      const int32_t size = y.dims[axis];
      require((a.dims[axis] == size || a.dims[axis] == 1) &&
                  (b.dims[axis] == size || b.dims[axis] == 1) &&
                  std::max(a.dims[axis], b.dims[axis]) == size,
              "has axes that do not broadcast");
    }
    // CUDA counts groups of 4 as int
    require(backend_.bytes_of(&y) / 16 < MAX_OFFSET, "has maps that are too large");
  }

  // P windows that reach over R cells, a stride apart, from `pad` before the first cell of a side.
  int64_t span(const char* count, int32_t stride, int64_t window, int32_t pad) const {
    require(stride >= 1 && stride <= MAX_SIDE && pad >= 0 && pad <= MAX_SIDE,
            "has a wrong stride or padding");
    const int64_t cells = (size(count) - int64_t{1}) * stride + window;
    require(cells <= MAX_SIDE, "reaches too far");
    return cells;
  }

  template <class Attrs>
  void convolution(const Attrs& a) const {
    const int64_t down = reach(size("R"), a.dilation_h), across = reach(size("S"), a.dilation_w);
    const int64_t rows = span("P", a.stride_h, down, a.pad_top);
    const int64_t columns = span("Q", a.stride_w, across, a.pad_left);
    const int64_t height = std::max<int64_t>(rows, size("H") + down);
    const int64_t width = std::max<int64_t>(columns, size("W") + across);
    const int64_t channels = std::max(size("C"), size("O")) + int64_t{15};
    require(height <= MAX_SIDE && width + a.stride_w <= 2 * MAX_SIDE &&
                height * (width + a.stride_w) < MAX_OFFSET / channels,
            "has maps that are too large");
    ending(a.activation);
  }

  // None, ReLU, clip, then the functions.
  void ending(int32_t activation) const {
    require(activation >= 0 && activation < 3 + ACTIVATIONS, "ends in an unknown function");
  }

  void groups(const GroupedConv2dAttrs& a) const {
    convolution(a);
    require(a.groups >= 1 && size("O") % a.groups == 0 &&
                int64_t{1} * size("K") * a.groups == size("C"),
            "has other groups");
  }

  // Every one of P windows has a tap on a side of `cells`.
  void meets(const char* count, int32_t stride, int32_t window, int32_t dilation, int32_t pad,
             int64_t cells) const {
    for (int64_t p = 0; p < size(count); p++) {
      const int64_t start = p * stride - pad;
      const int64_t skipped = start < 0 ? (-start + dilation - 1) / dilation : 0;
      require(skipped < window && start + skipped * dilation < cells,
              "has a window beside the map");
    }
  }

  // Every window holds a cell of the map.
  template <class Attrs>
  void pooling(const Attrs& a, const char* height, const char* width) const {
    const int64_t down = reach(a.kernel_h, a.dilation_h), across = reach(a.kernel_w, a.dilation_w);
    span("P", a.stride_h, down, a.pad_top);
    span("Q", a.stride_w, across, a.pad_left);
    meets("P", a.stride_h, a.kernel_h, a.dilation_h, a.pad_top, size(height));
    meets("Q", a.stride_w, a.kernel_w, a.dilation_w, a.pad_left, size(width));
    require(a.pad_bottom >= 0 && a.pad_bottom < down && a.pad_right >= 0 && a.pad_right < across,
            "has a wrong stride or padding");
    const bool mean = !strncmp(op_.kernel->name, "avgpool2d", 9);
    require(!mean || (a.dilation_h == 1 && a.dilation_w == 1), "has a wrong dilation");
  }

  // A margin of `before` and `after` cells makes `to` cells of `from`.
  void margin(int32_t mode, int32_t before, int32_t after, const char* from, const char* to) const {
    require(before >= 0 && before <= MAX_SIDE && after >= 0 && after <= MAX_SIDE &&
                size(to) == int64_t{1} * size(from) + before + after && size(to) <= MAX_SIDE,
            "has a wrong padding");
    const int32_t most = size(from) - (mode == 1 ? 1 : 0);  // reflect, wrap
    require((mode != 1 && mode != 3) || (before <= most && after <= most),
            "pads more than there is to repeat");
  }

  void padding(const PadAttrs& a) const {
    require(a.mode >= 0 && a.mode <= 3, "has no such mode");
    margin(a.mode, a.pad_top, a.pad_bottom, "H", "P");
    margin(a.mode, a.pad_left, a.pad_right, "W", "Q");
    const int64_t cells = int64_t{1} * size("P") * size("Q");
    require(cells < MAX_OFFSET / (size("C") + int64_t{15}), "has maps that are too large");
  }

  // `count` cells from `first`, a step apart, lie on a side of `whole`.
  void stretch(int32_t first, int32_t step, const char* count, const char* whole) const {
    const int64_t last = first + int64_t{1} * step * (size(count) - 1);
    require(step != 0 && step != INT32_MIN && first >= 0 && first < size(whole) && last >= 0 &&
                last < size(whole),
            "takes what is not there");
  }

  void slicing(const SliceAttrs& a) const {
    stretch(a.channel_first, a.channel_step, "A", "C");
    stretch(a.row_first, a.row_step, "P", "H");
    stretch(a.column_first, a.column_step, "Q", "W");
  }

  // concat_backward: g (N, A + B, H, W)
  void parts_of(const PlTensor& g) const {
    const bool both = sizes_.count("A") && sizes_.count("B");
    const int64_t channels =
        (sizes_.count("A") ? int64_t{size("A")} : 0) + (sizes_.count("B") ? int64_t{size("B")} : 0);
    require(g.layout == PL_MAPS && channels > 0 && g.dims[0] == size("N") &&
                g.dims[2] == size("H") && g.dims[3] == size("W") &&
                (both ? channels == g.dims[1] : channels <= g.dims[1]),
            "has another sum of channels");
  }

  const Op& op_;
  const PlBackend& backend_;
  std::vector<Argument> arguments_;
  std::map<std::string, Size> sizes_;
};

}  // namespace

void check_op(const Op& op, const PlBackend& backend) {
  OpCheck check(op, backend);
  check.types();
  check.places();
  check.attributes();
}

}  // namespace partlens
