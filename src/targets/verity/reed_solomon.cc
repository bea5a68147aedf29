// The way of Blahut's book: syndromes, Berlekamp-Massey that begins with the erasures,
// Chien's search, Forney's formula.

#include "targets/verity/reed_solomon.h"

#include <algorithm>
#include <array>

namespace dmfs::verity {

namespace {

constexpr unsigned kOrder = 255;  // of the field's multiplicative group

struct Field {
    std::array<uint8_t, 2 * kOrder> power{};  // of the generator; twice, to spare a modulo
    std::array<uint8_t, 256> logarithm{};

    constexpr Field() {
        unsigned value = 1;
        for (unsigned i = 0; i < kOrder; i++) {
            power[i] = power[i + kOrder] = static_cast<uint8_t>(value);
            logarithm[value] = static_cast<uint8_t>(i);
            value <<= 1;
            if (value > 255) value ^= 0x11d;
        }
    }
};
constexpr Field kField;

constexpr uint8_t times(uint8_t a, uint8_t b) {
    return a == 0 || b == 0 ? uint8_t{0} : kField.power[kField.logarithm[a] + kField.logarithm[b]];
}
// b is not 0.
constexpr uint8_t over(uint8_t a, uint8_t b) {
    return a == 0 ? uint8_t{0} : kField.power[kField.logarithm[a] + kOrder - kField.logarithm[b]];
}
// The generator's power.
constexpr uint8_t power(unsigned exponent) { return kField.power[exponent % kOrder]; }

// A polynomial of a degree up to kMostRoots; [i] goes with x^i.
using Polynomial = std::array<uint8_t, kMostRoots + 1>;

uint8_t value_at(const Polynomial& polynomial, unsigned degree, uint8_t x) {
    uint8_t value = 0;
    for (unsigned i = degree + 1; i-- > 0;) value = times(value, x) ^ polynomial[i];
    return value;
}

void multiply_by_x(Polynomial& polynomial) {
    std::shift_right(polynomial.begin(), polynomial.end(), 1);
    polynomial[0] = 0;
}

// A byte's locator is the generator's power that belongs to its place.
unsigned exponent_of(uint8_t place) { return kCodewordBytes - 1 - place; }

// The polynomial that is 0 at the inverse of each erased byte's locator.
Polynomial erasures(std::span<const uint8_t> erased) {
    Polynomial product{1};
    for (uint8_t place : erased) {
        uint8_t locator = power(exponent_of(place));
        for (size_t i = product.size() - 1; i > 0; i--) product[i] ^= times(product[i - 1], locator);
    }
    return product;
}

// The polynomial that is 0 at the inverse of each wrong byte's locator.
Polynomial locate(const uint8_t* syndromes, unsigned roots, std::span<const uint8_t> erased) {
    auto known = static_cast<unsigned>(erased.size());
    Polynomial locators = erasures(erased), correction = locators;
    unsigned length = known;
    for (unsigned step = known + 1; step <= roots; step++) {
        uint8_t discrepancy = 0;
        for (unsigned i = 0; i < step; i++) discrepancy ^= times(locators[i], syndromes[step - 1 - i]);
        if (discrepancy == 0) {
            multiply_by_x(correction);
            continue;
        }
        Polynomial previous = locators, shifted = correction;
        multiply_by_x(shifted);
        for (size_t i = 0; i < locators.size(); i++) locators[i] ^= times(discrepancy, shifted[i]);
        if (2 * length <= step + known - 1) {
            length = step + known - length;
            for (size_t i = 0; i < correction.size(); i++) correction[i] = over(previous[i], discrepancy);
        } else {
            correction = shifted;
        }
    }
    return locators;
}

}  // namespace

// The word's values at the roots; whether it is wrong.
bool ReedSolomon::syndromes(std::span<const uint8_t, kCodewordBytes> word, uint8_t* syndromes) const {
    uint8_t any = 0;
    for (unsigned root = 0; root < roots_; root++) {
        uint8_t value = 0;
        for (uint8_t byte : word)
            value =
                static_cast<uint8_t>((value == 0 ? 0 : kField.power[kField.logarithm[value] + root]) ^ byte);
        syndromes[root] = value;
        any |= value;
    }
    return any != 0;
}

std::optional<unsigned> ReedSolomon::correct(std::span<uint8_t, kCodewordBytes> word,
                                             std::span<const uint8_t> erased) const {
    uint8_t found[kMostRoots];
    if (erased.size() > roots_) return std::nullopt;
    if (!syndromes(word, found)) return 0;
    Polynomial locators = locate(found, roots_, erased);
    unsigned degree = kMostRoots;
    while (degree > 0 && locators[degree] == 0) degree--;
    if (degree == 0 || degree > roots_) return std::nullopt;

    // What the errors are worth: syndromes * locators, up to x^(roots-1).
    Polynomial worth{};
    for (unsigned i = 0; i < roots_; i++)
        for (unsigned j = 0; j <= std::min(i, degree); j++) worth[i] ^= times(found[i - j], locators[j]);

    std::array<uint8_t, kCodewordBytes> original;
    std::copy(word.begin(), word.end(), original.begin());
    unsigned wrong = 0, changed = 0;
    for (unsigned place = 0; place < kCodewordBytes; place++) {
        unsigned exponent = exponent_of(static_cast<uint8_t>(place));
        uint8_t inverse = power(kOrder - exponent);
        if (value_at(locators, degree, inverse) != 0) continue;
        uint8_t slope = 0;  // of the locators there: in this field only odd powers count
        for (unsigned i = 1; i <= degree; i += 2)
            slope ^= times(locators[i], power((kOrder - exponent) * (i - 1)));
        if (slope == 0) break;
        uint8_t error = over(times(power(exponent), value_at(worth, roots_ - 1, inverse)), slope);
        word[place] ^= error;
        wrong++;
        changed += error != 0;
    }
    if (wrong == degree && !syndromes(word, found)) return changed;
    std::copy(original.begin(), original.end(), word.begin());
    return std::nullopt;
}

}  // namespace dmfs::verity
