#include "model/flatbuffer.h"

#include <cstddef>
#include <functional>
#include <string>
#include <vector>

#include "gtest/gtest.h"
#include "model/error.h"

namespace sigrun::flatbuffer {
namespace {

// Bytes written by hand, front to back.
class Bytes {
 public:
  template <class T>
  Bytes& Put(T value) {
    const auto* p = reinterpret_cast<const uint8_t*>(&value);
    for (size_t i = 0; i < sizeof(T); ++i) bytes_.push_back(p[i]);
    return *this;
  }
  Bytes& U16(int value) { return Put(static_cast<uint16_t>(value)); }
  Bytes& U32(int64_t value) { return Put(static_cast<uint32_t>(value)); }
  Bytes& Text(const char* text) {
    while (*text != '\0') bytes_.push_back(static_cast<uint8_t>(*text++));
    return *this;
  }
  std::vector<uint8_t> bytes_;
};

// Root at 20: int32 field 0, string field 1, int16 vector field 2, table field 3.
Bytes Sample() {
  Bytes b;
  b.U32(20).Text("TFL3");                                     // 0
  b.U16(12).U16(24).U16(4).U16(8).U16(12).U16(16);            // 8: the vtable of both tables
  b.U32(20 - 8).Put(int32_t{-7});                             // 20: the root
  b.U32(44 - 28).U32(52 - 32).U32(60 - 36).U32(0);            // 28, 32, 36: where its other fields stand
  b.U32(3).Text("abc").Put(uint8_t{0});                       // 44
  b.U32(2).Put(int16_t{5}).Put(int16_t{-5});                  // 52
  b.U32(60 - 8).Put(int32_t{9}).U32(0).U32(0).U32(0).U32(0);  // 60: the child
  return b;
}

std::string MessageOf(const std::function<void()>& f) {
  const Status status = Guard(f);
  return status.message();
}

TEST(FlatBuffer, ReadsWhatStandsThere) {
  const Bytes b = Sample();
  const Source source{b.bytes_};
  const Table root = Table::Root(source);
  EXPECT_EQ(root.Scalar<int32_t>(0), -7);
  EXPECT_EQ(root.String(1, "name"), "abc");
  const auto numbers = root.Scalars<int16_t>(2, "numbers");
  ASSERT_EQ(numbers.size(), 2u);
  EXPECT_EQ(numbers[1], -5);
  EXPECT_EQ(root.Child(3, "child").Scalar<int32_t>(0), 9);
  EXPECT_EQ(root.Child(3, "child").path().text(), "model.child");
}

TEST(FlatBuffer, AbsentFieldsHaveTheirDefaults) {
  const Bytes b = Sample();
  const Source source{b.bytes_};
  const Table root = Table::Root(source);
  EXPECT_EQ(root.Scalar<int32_t>(7, 3), 3);
  EXPECT_TRUE(root.Bool(9, true));
  EXPECT_FALSE(root.Has(4));
  EXPECT_FALSE(root.Child(5, "child"));
  EXPECT_EQ(root.Children(6, "children").size(), 0u);
  EXPECT_EQ(Table().Scalar<int32_t>(0, 4), 4);
}

TEST(FlatBuffer, EveryTruncationIsAnErrorOrInside) {
  const Bytes b = Sample();
  for (size_t size = 0; size < b.bytes_.size(); ++size) {
    // A copy of exactly this size, so that an address sanitizer sees a read beyond it.
    const std::vector<uint8_t> cut(b.bytes_.begin(), b.bytes_.begin() + static_cast<std::ptrdiff_t>(size));
    const Source source{cut};
    const Status status = Guard([&] {
      const Table root = Table::Root(source);
      root.Scalar<int32_t>(0);
      root.String(1, "name");
      root.Scalars<int16_t>(2, "numbers");
      root.Child(3, "child").Scalar<int32_t>(0);
    });
    EXPECT_FALSE(status.ok()) << size;
    EXPECT_NE(status.message().find("model"), std::string::npos) << status.message();
  }
}

TEST(FlatBuffer, EveryChangedByteIsAnErrorOrInside) {
  const Bytes original = Sample();
  for (size_t at = 0; at < original.bytes_.size(); ++at) {
    for (const int value : {0, 1, 2, 3, 4, 127, 128, 254, 255}) {
      std::vector<uint8_t> bytes = original.bytes_;
      bytes[at] = static_cast<uint8_t>(value);
      const Source source{bytes};
      const Status status = Guard([&] {
        const Table root = Table::Root(source);
        const std::string_view text = root.String(1, "name");
        const std::string copy(text);
        const auto numbers = root.Scalars<int16_t>(2, "numbers");
        for (uint32_t i = 0; i < numbers.size(); ++i) (void)numbers[i];
        (void)root.Child(3, "child").Scalar<int32_t>(0);
        const TableVector children = root.Children(3, "children");
        for (uint32_t i = 0; i < children.size() && i < 100; ++i) (void)children[i];
      });
      (void)status;
    }
  }
}

TEST(FlatBuffer, MessagesNameThePath) {
  Bytes b = Sample();
  const int32_t huge = 0x7FFFFFFF;
  std::memcpy(&b.bytes_[52], &huge, 4);
  const Source source{b.bytes_};
  const Table root = Table::Root(source);
  EXPECT_NE(MessageOf([&] { root.Scalars<int16_t>(2, "numbers"); }).find("model.numbers"), std::string::npos);
  std::memcpy(&b.bytes_[36], &huge, 4);
  EXPECT_NE(MessageOf([&] { root.Child(3, "child"); }).find("model.child"), std::string::npos);
}

TEST(FlatBuffer, TheBudgetEndsEndlessReading) {
  const Bytes b = Sample();
  const Source source{b.bytes_, 200};
  const Table root = Table::Root(source);
  const std::string message = MessageOf([&] {
    for (int i = 0; i < 1000; ++i) root.Child(3, "child");
  });
  EXPECT_NE(message.find("too many times"), std::string::npos);
}

}  // namespace
}  // namespace sigrun::flatbuffer
