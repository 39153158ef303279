// The wrapper: reads x of 3 sequences, prints outputs, streamed and whole, and what it says where sizes do not fit.
#include "plain.hpp"

#include <array>
#include <cstdio>
#include <type_traits>
#include <utility>
#include <vector>

static_assert(!std::is_copy_constructible_v<plain::Stream> && !std::is_copy_assignable_v<plain::Stream>);
static_assert(std::is_nothrow_move_constructible_v<plain::Stream> && std::is_nothrow_move_assignable_v<plain::Stream>);

constexpr int batch = 3, length = 40;

static void print(const std::vector<float> &y) {
    for (const float value : y) std::printf("%.9g ", static_cast<double>(value));
    std::printf("\n");
}

int main() {
    std::vector<float> x(batch * length * plain::sample_size), y(batch * plain::outputs), step(batch * plain::sample_size);
    if (std::fread(x.data(), sizeof(float), x.size(), stdin) != x.size()) return 5;
    plain::Stream stream(batch);
    stream.push(x, y);
    stream.reset();
    for (std::size_t t = 0; t < length; t++) {
        if (t == length / 2) {
            plain::Stream other = std::move(stream);
            stream = std::move(other);
        }
        for (std::size_t i = 0; i < step.size(); i++)
            step[i] = x[(i / plain::sample_size * length + t) * plain::sample_size + i % plain::sample_size];
        const plain::Span<const float> one(step.data(), step.size());
        if (stream.push(one, y) != 1) return 6;
    }
    print(y);
    plain::Runner runner(batch, length);
    std::vector<float> whole(y.size());
    plain::Span<float> room = whole;
    if (runner.run(x, room) != 1) return 7;
    print(whole);

    std::array<float, 1> little{};
    const std::vector<float> odd(step.size() + 1), nothing;
    const plain::Span<const float> endless(step.data(), step.size() * ((std::size_t{1} << 32) + 1)); // more than an int
    const int refused[] = {stream.push(odd, y), stream.push(step, little), stream.push(nothing, y), runner.run(step, y),
                           stream.push(endless, y)};
    plain::Stream heir = std::move(stream);
    plain::Runner next = std::move(runner);
    stream.reset();
    const int gone[] = {stream.push(step, y), runner.run(x, whole)};
    const int taken[] = {heir.push(std::as_const(step), plain::Span<float>(y.data(), y.size())), next.run(x, whole)};
    bool thrown = false;
    try {
        plain::Stream none(0);
    } catch (const std::invalid_argument &) {
        thrown = true;
    }
    for (const int answers : refused) std::printf("%d ", answers);
    std::printf("%d %d %d %d %d\n", thrown, gone[0], gone[1], taken[0], taken[1]);
    return 0;
}
