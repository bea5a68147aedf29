// For targets that cut everything at their chunks. Table cuts reads and writes there,
// and hands on a discard or a zeroing uncut.

#pragma once

#include <algorithm>
#include <cstring>
#include <vector>

#include "engine/target.h"
#include "engine/wait.h"

namespace dmfs {

// Has `serve` done for every piece of `bio` between multiples of `chunk` sectors, in
// order, some side by side. All are tried, unless the request is cancelled; the first
// error is the answer. A range may have millions of pieces, none of which has to wait: so
// it lets its thread go now and then.
template <class T>
Task<Status> in_pieces(T* target, Task<Status> (T::*serve)(Bio), Bio bio, Sector chunk, Executor* executor) {
    constexpr size_t kSideBySide = 32, kAtATime = 256;
    Status result;
    bio.one_of_many = true;
    if (bio.cancel != nullptr) bio.cancel->about_to_wait();
    for (size_t batch = 1; bio.count > 0 && result.error() != EINTR; batch++) {
        if (is_cancelled(bio.cancel)) co_return Status(EINTR);
        if (batch % kAtATime == 0) {
            Task<Status> pause = sleep_until(*executor, 0);
            Status slept = co_await pause;
            static_cast<void>(slept);
        }
        std::vector<Task<Status>> pieces;
        while (bio.count > 0 && pieces.size() < kSideBySide) {
            Bio piece = bio.part(0, std::min(bio.count, chunk - bio.sector % chunk));
            bio = bio.part(piece.count, bio.count - piece.count);
            pieces.push_back((target->*serve)(piece));
        }
        Task<Status> joined = all(std::move(pieces));
        Status status = co_await joined;
        result = result.and_then(status);
    }
    co_return result;
}

// A zeroing as writes of zeros, of `most` sectors or fewer, one after the other up to the
// first error: for targets that are to see what is written. It may be endless: so it can be
// interrupted, and lets its thread go now and then.
template <class T>
Task<Status> as_writes(T* target, Task<Status> (T::*write)(Bio), Bio bio, Sector most, Executor* executor) {
    constexpr size_t kAtATime = 256;
    Memory zeros(bytes_of(std::min(bio.count, most)));
    memset(zeros.data(), 0, zeros.bytes());
    bio.op = Op::write;
    bio.memory = &zeros;
    if (bio.cancel != nullptr) bio.cancel->about_to_wait();
    for (size_t count = 1; bio.count > 0; count++) {
        if (is_cancelled(bio.cancel)) co_return Status(EINTR);
        if (count % kAtATime == 0) {
            Task<Status> pause = sleep_until(*executor, 0);
            Status slept = co_await pause;
            static_cast<void>(slept);
        }
        Bio piece = bio.part(0, std::min(bio.count, most));
        bio = bio.part(piece.count, bio.count - piece.count);
        bio.offset = piece.offset = 0;
        Task<Status> writing = (target->*write)(piece);
        Status status = co_await writing;
        if (!status) co_return status;
    }
    co_return kOk;
}

}  // namespace dmfs
