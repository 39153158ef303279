// @NAME@ for C++17. Construction allocates; nothing else does, and nothing throws but construction.
#ifndef @MACRO@_HPP
#define @MACRO@_HPP
#include "@NAME@.h"

#include <cstddef>
#include <limits>
#include <memory>
#include <new>
#include <stdexcept>
#include <type_traits>

namespace @NAME@ {

using Sample = @NAME@_sample;
inline constexpr std::size_t sample_size = @MACRO@_SAMPLE, outputs = @MACRO@_OUTPUTS;

// Values of the caller's: a pointer with a count, or what has data() and size().
template <class T>
class Span {
public:
    Span(T *data, std::size_t size) noexcept : data_(data), size_(size) {}
    template <class Container, class = std::enable_if_t<!std::is_same_v<std::decay_t<Container>, Span>>>
    Span(Container &&container) noexcept : data_(container.data()), size_(container.size()) {}

    T *data() const noexcept { return data_; }
    std::size_t size() const noexcept { return size_; }

private:
    T *data_;
    std::size_t size_;
};

namespace detail {

struct Release {
    void operator()(void *memory) const noexcept {
        ::operator delete(memory, std::align_val_t{@MACRO@_ALIGNMENT});
    }
};

using Memory = std::unique_ptr<void, Release>;

inline Memory make(std::size_t bytes) {
    return Memory(::operator new(bytes, std::align_val_t{@MACRO@_ALIGNMENT}));
}

inline int positive(int size) { return size > 0 ? size : throw std::invalid_argument("a size must be from 1 up"); }

// Time steps of x, where it is whole steps of every sequence and y has room for their outputs; else 0.
inline int steps(Span<const Sample> x, Span<float> y, int batch) noexcept {
    const auto sequences = static_cast<std::size_t>(batch);
    const std::size_t step = sequences * sample_size;
    const std::size_t most = std::numeric_limits<int>::max();
    const int n = x.size() % step || x.size() / step > most ? 0 : static_cast<int>(x.size() / step);
    return n > 0 && y.size() >= sequences * static_cast<std::size_t>(@MACRO@_ANSWERS(n)) * outputs ? n : 0;
}

}  // namespace detail

// Sequences that are read piece by piece, with their state. It can be moved, and is not copied by accident; what was
// moved from takes nothing.
class Stream {
public:
    explicit Stream(int batch = 1)
        : batch_(detail::positive(batch)),
          memory_(detail::make(@MACRO@_STREAM_BYTES(batch))),
          scratch_(detail::make(@MACRO@_PUSH_BYTES(batch))) {
        reset();
    }

    // Go back to the zero state.
    void reset() noexcept {
        if (memory_) @NAME@_init(memory_.get(), batch_);
    }

    // Feed x[batch][n][sample_size]. Writes the outputs of the last k steps, y[batch][k][outputs], and returns k; 0 where
    // the sizes do not fit or a sample is none, and then the stream is as it was.
    int push(Span<const Sample> x, Span<float> y) noexcept {
        const int n = detail::steps(x, y, batch_);
        return n && memory_ ? @NAME@_push(memory_.get(), x.data(), n, y.data(), scratch_.get()) : 0;
    }

private:
    int batch_;
    detail::Memory memory_, scratch_;
};

// Whole sequences of one length, from the zero state.
class Runner {
public:
    Runner(int batch, int length)
        : batch_(detail::positive(batch)),
          length_(detail::positive(length)),
          scratch_(detail::make(@MACRO@_RUN_BYTES(batch, length))) {}

    // Run x[batch][length][sample_size]. Writes and returns as Stream::push does.
    int run(Span<const Sample> x, Span<float> y) noexcept {
        const bool fits = scratch_ && detail::steps(x, y, batch_) == length_;
        return fits ? @NAME@_run(x.data(), batch_, length_, y.data(), scratch_.get()) : 0;
    }

private:
    int batch_, length_;
    detail::Memory scratch_;
};

}  // namespace @NAME@
#endif
