// The modes as their definitions say, a block at a time, to compare the fast ones with.
#pragma once

#include <cstddef>
#include <string_view>
#include <vector>

#include "crypto/cipher.h"

namespace dmfs::test {

using Bytes = std::vector<std::byte>;

inline Bytes add(Bytes a, const Bytes& b) {
    for (size_t i = 0; i < a.size(); i++) a[i] ^= b[i];
    return a;
}

inline unsigned bit_of(const Bytes& number, size_t bit) {  // bytes little-endian
    return static_cast<unsigned>(number[bit / 8]) >> bit % 8 & 1;
}

// * x modulo x^128 + x^7 + x^2 + x + 1.
inline Bytes times_x(const Bytes& number) {
    Bytes product(16);
    for (size_t bit = 0; bit < 127; bit++)
        if (bit_of(number, bit)) product[(bit + 1) / 8] ^= static_cast<std::byte>(1 << (bit + 1) % 8);
    if (bit_of(number, 127)) product[0] ^= std::byte{0x87};
    return product;
}

inline Bytes times(const Bytes& a, Bytes b) {
    Bytes product(16);
    for (size_t bit = 0; bit < 128; bit++, b = times_x(b))
        if (bit_of(a, bit)) product = add(product, b);
    return product;
}

inline void increment(Bytes& number) {  // big-endian
    for (size_t i = number.size(); i-- > 0;)
        if (number[i] = static_cast<std::byte>(static_cast<unsigned>(number[i]) + 1);
            number[i] != std::byte{0})
            return;
}

inline Bytes turned(const Bytes& bytes) { return {bytes.rbegin(), bytes.rend()}; }

inline Bytes apply(const BlockCipher& cipher, bool encrypt, const Bytes& block) {
    Bytes out(block.size());
    if (encrypt)
        cipher.encrypt(block.data(), out.data(), 1);
    else
        cipher.decrypt(block.data(), out.data(), 1);
    return out;
}

// One sector. `second`: xts' other cipher; lrw: `tweak_key`.
inline Bytes naive(std::string_view mode, bool encrypt, const BlockCipher& cipher, const BlockCipher* second,
                   const Bytes& tweak_key, Bytes iv, const Bytes& in) {
    size_t block = cipher.block_bytes();
    Bytes out;
    if (mode == "xts") iv = apply(*second, true, iv);
    for (size_t at = 0; at < in.size(); at += block) {
        Bytes from(in.begin() + static_cast<long>(at), in.begin() + static_cast<long>(at + block)), to;
        if (mode == "ecb") {
            to = apply(cipher, encrypt, from);
        } else if (mode == "cbc" && encrypt) {
            to = iv = apply(cipher, true, add(from, iv));
        } else if (mode == "cbc") {
            to = add(apply(cipher, false, from), iv);
            iv = from;
        } else if (mode == "ctr") {
            to = add(from, apply(cipher, true, iv));
            increment(iv);
        } else if (mode == "xts") {
            to = add(apply(cipher, encrypt, add(from, iv)), iv);
            iv = times_x(iv);
        } else if (mode == "lrw") {
            Bytes tweak = turned(times(turned(iv), turned(tweak_key)));
            to = add(apply(cipher, encrypt, add(from, tweak)), tweak);
            increment(iv);
        }
        out.insert(out.end(), to.begin(), to.end());
    }
    return out;
}

}  // namespace dmfs::test
