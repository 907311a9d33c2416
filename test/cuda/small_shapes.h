// The cases of small_shapes.cpp: at least one per kernel, with sizes that are no multiple of a
// tile.
#pragma once
#include <stdexcept>
#include <vector>

struct Case {
  const char* kernel;
  const char* inputs;   // arguments, separated by ';': see Argument
  const char* outputs;  // `none`: nobody reads it
  std::vector<double> attrs;
  bool product = false;  // runs at every precision
};

static const std::vector<double> CONV = {1, 1, 1, 1, 1};              // stride, pad, relu
static const std::vector<double> POOL = {3, 2, 2, 1, 1, 0, 1, 0, 0};  // kernel, stride, pads, count
static const std::vector<double> ADAM = {0.3, 0.9, 0.999, 1e-8, 1e-4};

static const std::vector<Case> CASES = {
    {"conv2d_forward", "maps 2 5 7 6;conv 9 5 3 3;rows 9", "maps 2 9 7 6", CONV, true},
    {"conv2d_forward", "maps 1 3 11 9;conv 70 3 5 3;none", "maps 1 70 5 9", {2, 1, 1, 1, 0}, true},
    {"conv2d_forward", "maps 2 32 14 14;conv 128 32 3 3;rows 128", "maps 2 128 14 14", CONV, true},
    {"conv2d_backward_data", "maps 2 9 7 6;conv 9 5 3 3", "maps 2 5 7 6", CONV, true},
    {"conv2d_backward_data", "maps 1 7 4 3;conv 7 3 3 2", "maps 1 3 8 6", {2, 2, 1, 0, 0}, true},
    {"conv2d_backward_data",
     "maps 2 32 14 14;conv 32 128 1 1",
     "maps 2 128 14 14",
     {1, 1, 0, 0, 0},
     true},
    {"conv2d_backward_weight", "maps 2 5 7 6;maps 2 9 7 6", "conv 9 5 3 3", CONV, true},
    {"conv2d_backward_weight",
     "maps 9 6 9 8;maps 9 70 5 8",
     "conv 70 6 3 1",
     {2, 1, 1, 0, 0},
     true},
    {"conv2d_backward_bias", "maps 3 9 7 6", "rows 9", {}},
    {"linear_forward",
     "rows 3 45 chw 5 3 3;linear 17 45 chw 5 3 3;rows 17",
     "rows 3 17",
     {1},
     true},
    {"linear_forward", "rows 40 600;linear 130 600;none", "rows 40 130", {0}, true},
    {"linear_backward_data", "rows 3 17;linear 17 45 chw 5 3 3", "rows 3 45 chw 5 3 3", {}, true},
    {"linear_backward_weight", "rows 3 17;rows 3 45 chw 5 3 3", "linear 17 45 chw 5 3 3", {}, true},
    {"linear_backward_bias", "rows 5 17", "rows 17", {}},
    {"relu_forward", "maps 2 5 3 4", "maps 2 5 3 4", {}},
    {"relu_backward", "maps 2 5 3 4;maps 2 5 3 4", "maps 2 5 3 4", {}},
    {"clip_forward", "maps 2 5 3 4", "maps 2 5 3 4", {0.1, 0.5}},
    {"clip_backward", "rows 3 7;rows 3 7", "rows 3 7", {-0.5, 0.5}},
    {"scale_forward", "rows 3 7", "rows 3 7", {0.7}},
    {"maxpool2d_forward", "maps 2 5 7 6", "maps 2 5 4 6;maps 2 5 4 6 < 42", POOL},
    {"maxpool2d_backward", "maps 2 5 4 6;maps 2 5 4 6 < 42", "maps 2 5 7 6", POOL},
    {"avgpool2d_forward", "maps 2 5 7 6", "maps 2 5 4 6", POOL},
    {"avgpool2d_backward", "maps 2 5 4 6", "maps 2 5 7 6", POOL},
    {"add_forward", "maps 2 5 3 4;maps 2 5 3 4", "maps 2 5 3 4", {}},
    {"add_scaled", "maps 2 5 3 4;maps 2 5 3 4;rows", "maps 2 5 3 4", {}},
    {"concat_forward", "maps 2 5 3 4;maps 2 6 3 4", "maps 2 11 3 4", {}},
    {"concat_backward", "maps 2 11 3 4", "maps 2 5 3 4;maps 2 6 3 4", {}},
    {"lrn_forward", "maps 2 9 3 4", "maps 2 9 3 4", {5, 0.8, 0.75, 1}},
    {"lrn_backward", "maps 2 9 3 4;maps 2 9 3 4;maps 2 9 3 4", "maps 2 9 3 4", {5, 0.8, 0.75, 1}},
    {"softmax_forward", "rows 3 300", "rows 3 300", {}},
    {"softmax_backward", "rows 3 300;rows 3 300", "rows 3 300", {}},
    {"dropout_forward", "maps 2 5 3 4;rows 2 < 99", "maps 2 5 3 4", {0.3, 2}},
    {"softmax_cross_entropy_forward", "rows 3 7;rows 3 < 7", "rows;rows 3 7", {}},
    {"softmax_cross_entropy_backward", "rows;rows 3 7;rows 3 < 7", "rows 3 7", {}},
    {"mask_layer_forward", "maps 2 37 5 5", "maps 2 37 5 5;rows 2 37 < 25", {4}},
    {"mask_layer_backward", "maps 2 37 5 5;rows 2 37 < 25", "maps 2 37 5 5", {4}},
    {"norm_layer_forward",
     "maps 3 37 5 4;rows 37 +",
     "maps 3 37 5 4;rows 37;rows 37",
     {1, 0.9, 0.05, 4, 1e-3}},
    {"norm_layer_backward", "maps 3 37 5 4;rows 37", "maps 3 37 5 4", {}},
    {"mix_tracks_forward", "maps 2 5 3 4;maps 2 5 3 4;rows", "maps 2 5 3 4;rows", {}},
    {"mix_tracks_backward",
     "maps 9 33 6 5;maps 9 33 6 5;maps 9 33 6 5;rows",
     "maps 9 33 6 5;maps 9 33 6 5;rows",
     {}},
    {"mean_forward", "rows 700", "rows", {}},
    {"mean_backward", "rows", "rows 37", {}},
    {"mean_square_forward", "rows 3 700;rows 3 700", "rows", {2}},
    {"mean_square_backward", "rows;rows 3 37;rows 3 37", "rows 3 37", {2}},
    {"contribution_loss_forward", "rows", "rows", {0.3}},
    {"contribution_loss_backward", "rows;rows", "rows", {0.3}},
    {"filter_loss_forward",
     "maps 5 37 4 4 +;rows 37 +",
     "rows 37;maps 5 37 17 1;rows 37;rows 37",
     {4, 1, 0.94, 1, 0.5, 0.9, 0.05, 1}},
    {"filter_loss_forward",
     "maps 3 5 6 6 +;rows 5 +",
     "rows 5;maps 3 5 37 1;rows 5;none",
     {4, 0.014, 0.97, 0, 0.5, 0.9, 0.05, 1}},
    {"filter_loss_backward", "rows 37;maps 5 37 17 1;rows 37", "maps 5 37 4 4", {4, 1}},
    {"balance_gradient", "maps 2 37 5 5;maps 2 37 5 5", "rows", {3}},
    {"adam_step", "conv 5 3 3 3;conv 5 3 3 3;conv 5 3 3 3;conv 5 3 3 3 +;rows 3 +",
     "conv 5 3 3 3;conv 5 3 3 3;conv 5 3 3 3", ADAM},
    {"sgd_step",
     "linear 5 7;linear 5 7;linear 5 7;rows 3 +",
     "linear 5 7;linear 5 7",
     {0.3, 0.9, 1e-4}},
    {"project_norm", "conv 5 3 3 3;rows 5 +", "conv 5 3 3 3", {}},
};
