#include <fstream>
#include <iterator>

#include "model/error.h"
#include "models.h"
#include "run/model_impl.h"

namespace sigrun {
namespace {

std::vector<char> ReadFile(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>()};
}

TEST(Model, ListsSignaturesWithNamesInAlphabeticalOrder) {
  const auto model = LoadModel("add_two_signatures");
  ASSERT_EQ(model->signatures().size(), 2u);
  const Signature& mul = model->signatures()[0];
  const Signature& add = model->signatures()[1];
  EXPECT_EQ(mul.key, "mul");
  EXPECT_EQ(add.key, "add");
  ASSERT_EQ(add.inputs.size(), 2u);
  EXPECT_EQ(add.inputs[0].first, "x");
  EXPECT_EQ(add.inputs[0].second, 1);
  EXPECT_EQ(add.inputs[1].first, "y");
  EXPECT_EQ(add.inputs[1].second, 0);
  ASSERT_EQ(add.outputs.size(), 3u);
  EXPECT_EQ(add.outputs[0].first, "alias");
  EXPECT_EQ(add.outputs[0].second, add.outputs[1].second);
  EXPECT_EQ(model->subgraphs_size(), 2u);
}

TEST(Model, DescribesTensors) {
  const auto model = LoadModel("dynamic_batch");
  const TensorDescription d = model->tensor_description(0, static_cast<size_t>(model->inputs(0)[0]));
  EXPECT_EQ(d.name, "image");
  EXPECT_EQ(d.type, TensorType::kFloat32);
  EXPECT_EQ(d.shape, (Shape{1, 8, 8, 3}));
  EXPECT_EQ(d.shape_signature, (Shape{-1, 8, 8, 3}));
}

TEST(Model, KeepsQuantizationPerChannel) {
  const auto model = LoadModel("convnet_int8");
  size_t per_channel = 0;
  for (size_t i = 0; i < model->tensors_size(0); ++i) {
    const TensorDescription d = model->tensor_description(0, i);
    if (d.quantization.scale.size() <= 1) continue;
    ++per_channel;
    EXPECT_EQ(d.quantization.scale.size(), static_cast<size_t>(d.shape[static_cast<size_t>(d.quantization.dimension)]));
    EXPECT_EQ(d.quantization.zero_point.size(), d.quantization.scale.size());
  }
  EXPECT_GE(per_channel, 4u);
}

TEST(Model, GivesADefaultSignatureWhereTheFileHasNone) {
  const auto named = LoadModel("no_signatures");
  EXPECT_TRUE(named->signatures().empty());
  EXPECT_EQ(named->default_signature().key, "serving_default");
  EXPECT_EQ(named->default_signature().inputs[0].first, "x");
  EXPECT_EQ(named->default_signature().outputs[0].first, "output");
  const auto nameless = LoadModel("no_signatures_no_names");
  const Signature& made = nameless->default_signature();
  EXPECT_EQ(made.inputs[0].first, "input0");
  EXPECT_EQ(made.inputs[1].first, "input1");
  EXPECT_EQ(made.outputs[1].first, "output1");
}

TEST(Model, ShowsMetadata) {
  const auto model = LoadModel("metadata");
  ASSERT_EQ(model->metadata().size(), 2u);
  EXPECT_EQ(model->metadata()[1].first, "labels");
  EXPECT_EQ(model->metadata()[1].second, "cat\ndog\n");
}

TEST(Model, ReadsBuffersBehindTheFlatBuffer) {
  const auto inside = LoadModel("dense2_dense1"), outside = LoadModel("external_buffers");
  const FlatModel &a = *inside->impl().flat, &b = *outside->impl().flat;
  ASSERT_EQ(a.buffers.size(), b.buffers.size());
  for (size_t i = 0; i < a.buffers.size(); ++i) {
    EXPECT_TRUE(std::equal(a.buffers[i].begin(), a.buffers[i].end(), b.buffers[i].begin(), b.buffers[i].end())) << i;
  }
}

TEST(Model, ReadsOperatorCodesOfOldConverters) {
  const auto model = LoadModel("deprecated_codes");
  EXPECT_EQ(model->impl().flat->operator_codes[0].name(), "FULLY_CONNECTED");
}

TEST(Model, HoldsTheOwnerOfItsBytes) {
  auto bytes = std::make_shared<std::vector<char>>(ReadFile(ModelPath("dense2_dense1")));
  const std::weak_ptr<std::vector<char>> watch = bytes;
  const auto* data = bytes->data();
  const size_t size = bytes->size();
  auto model = Model::BuildFromBuffer(data, size, std::move(bytes));
  ASSERT_NE(model, nullptr);
  EXPECT_FALSE(watch.expired());
  model.reset();
  EXPECT_TRUE(watch.expired());
}

TEST(Model, RefusesWhatIsNoModel) {
  Status status;
  EXPECT_EQ(Model::BuildFromFile("/nowhere/model.tflite", &status), nullptr);
  EXPECT_EQ(status.code(), StatusCode::kInvalidArgument);
  EXPECT_NE(status.message().find("/nowhere/model.tflite"), std::string::npos);
  EXPECT_EQ(Model::BuildFromFile(SIGRUN_TEST_MODELS, &status), nullptr);
  EXPECT_NE(status.message().find("not a regular file"), std::string::npos);
  EXPECT_EQ(Model::BuildFromFile(nullptr, &status), nullptr);
  EXPECT_EQ(Model::BuildFromBuffer(nullptr, 0, nullptr, &status), nullptr);
  EXPECT_EQ(Model::BuildFromBuffer("short", 5, nullptr, &status), nullptr);
  EXPECT_EQ(Model::BuildFromBuffer("this is no .tflite file at all", 30, nullptr, &status), nullptr);
  EXPECT_FALSE(status.message().empty());
}

TEST(Model, EveryTruncationIsRefusedOrHarmless) {
  const std::vector<char> whole = ReadFile(ModelPath("dense2_dense1"));
  for (size_t size = 0; size < whole.size(); ++size) {
    const std::vector<char> cut(whole.begin(), whole.begin() + static_cast<std::ptrdiff_t>(size));
    Status status;
    const auto model = Model::BuildFromBuffer(cut.data(), cut.size(), nullptr, &status);
    EXPECT_EQ(model != nullptr, status.ok());
  }
}

TEST(Model, NamesEveryMissingOperatorAtOnce) {
  auto interpreter = MakeInterpreter("unknown_operator");
  Status status;
  EXPECT_EQ(interpreter->GetSignatureRunner(nullptr, &status), nullptr);
  EXPECT_EQ(status.code(), StatusCode::kUnimplemented);
  EXPECT_NE(status.message().find("NoSuchOperator"), std::string::npos) << status.message();
}

TEST(Model, CountsElementsWithoutOverflow) {
  EXPECT_EQ(ElementCount({}, "x"), 1);
  EXPECT_EQ(ElementCount({2, 0, 3}, "x"), 0);
  EXPECT_THROW(ElementCount({2, -1}, "x"), Error);
  EXPECT_THROW(ElementCount({0, INT32_MAX, INT32_MAX}, "x"), Error);
  EXPECT_THROW(ElementCount({INT32_MAX, INT32_MAX, INT32_MAX, INT32_MAX}, "x"), Error);
  EXPECT_EQ(BytesOf(TensorType::kInt4, 3), 2u);
  EXPECT_EQ(BytesOf(TensorType::kInt2, 5), 2u);
  EXPECT_EQ(BytesOf(TensorType::kComplex128, 2), 32u);
}

}  // namespace
}  // namespace sigrun
