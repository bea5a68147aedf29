// Refused: what a parser or a constructor throws. It carries the errno that the
// caller's system call fails with, and what a person needs: the place, the reason
// and the way out. Each front end catches it once and prints it as
//
//     table refused: Invalid argument
//     table:2: striped: chunk size 100 does not divide the stripe's 2048 sectors
//       0 6144 striped 3 100 a.img 0 b.img 0 c.img 0
//                        ^~~ a divisor of 2048, such as 64 or 128

#pragma once

#include <cassert>
#include <cerrno>
#include <cstddef>
#include <exception>
#include <optional>
#include <string>
#include <string_view>
#include <utility>

namespace dmfs {

// Where in a text something stands. Lines count from 1, columns (in bytes) from 0.
struct Place {
    std::string file;  // "table", "dmfs.toml"; empty: no place
    size_t line = 0;
    std::string source;  // the text of that line
    size_t column = 0;
    size_t length = 0;  // 0: the whole line is meant, nothing is underlined
};

class Refused : public std::exception {
  public:
    // error is a positive errno; reason is a phrase without a full stop; remedy
    // says what would work, and may be empty.
    Refused(int error, std::string reason, std::string remedy = {});

    int error() const { return error_; }
    const std::string& reason() const { return reason_; }
    const std::string& remedy() const { return remedy_; }
    const Place& place() const { return place_; }

    // The same refusal, with what it concerns before its reason: "striped: ...".
    Refused of(std::string_view what) const;
    // The same refusal, at a place. A place that is already known stays, but gets the
    // text of its line if it had none.
    Refused at(Place place) const;

    // The lines after the first of the example above (without a trailing newline).
    std::string detail() const;
    // detail() after a first line "WHAT refused: strerror(error)".
    std::string report(std::string_view what) const;

    const char* what() const noexcept override { return reason_.c_str(); }

  private:
    int error_;
    std::string reason_;
    std::string remedy_;
    Place place_;
};

// How an operation ended that cannot throw, as a coroutine: well, or why it was refused. True is good, as
// of a Status.
class [[nodiscard]] Outcome {
  public:
    Outcome() = default;
    Outcome(Refused refused) : refused_(std::move(refused)) {}

    bool good() const { return !refused_; }
    explicit operator bool() const { return good(); }
    // Only of one that is not good.
    const Refused& why() const {
        assert(refused_);
        return *refused_;
    }

  private:
    std::optional<Refused> refused_;
};

}  // namespace dmfs
