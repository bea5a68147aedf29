// Status: how an operation below the parsers ended. Zero is success, anything
// else a positive errno. It is [[nodiscard]]: an error that nobody looks at does
// not compile.
//
// errno itself becomes a Status on the line of the call that set it
// (Status::last()), because a later call, or a coroutine resumed on another
// thread, would find another value there.

#pragma once

#include <cerrno>

namespace dmfs {

class [[nodiscard]] Status {
  public:
    constexpr Status() = default;
    constexpr explicit Status(int error) : error_(error) {}

    static constexpr Status ok() { return Status(); }
    static Status last() { return Status(errno); }

    constexpr bool good() const { return error_ == 0; }
    constexpr explicit operator bool() const { return good(); }
    constexpr int error() const { return error_; }

    // The first of two errors, for a request that went several ways.
    constexpr Status and_then(Status other) const { return good() ? other : *this; }

    friend constexpr bool operator==(Status, Status) = default;

  private:
    int error_ = 0;
};

inline constexpr Status kOk{};

}  // namespace dmfs
