// The terminal while `top` has it: another screen, no cursor, keys without echo.
// leave() gives it back as it was; so does the destructor.

#pragma once

#include <termios.h>

#include <optional>
#include <string>
#include <vector>

namespace dmfs::cli {

class Screen {
  public:
    // Whether standard output is a terminal that can do it.
    static bool possible();

    Screen();
    ~Screen();
    Screen(const Screen&) = delete;
    Screen& operator=(const Screen&) = delete;

    void enter();
    void leave();

    struct Size {
        size_t columns, rows;
    };
    Size size() const;
    bool colours() const { return colours_; }
    // From the first line on; what does not fit is left out.
    void draw(const std::vector<std::string>& lines);
    bool has_keys() const { return keys_; }

  private:
    std::optional<termios> before_;
    bool entered_ = false;
    const bool keys_;
    const bool colours_;
};

}  // namespace dmfs::cli
