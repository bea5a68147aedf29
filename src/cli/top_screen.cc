#include "cli/top_screen.h"

#include <errno.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <cstdlib>
#include <string_view>

#include "base/files.h"

namespace dmfs::cli {

namespace {

// Where the terminal is gone, the loop hears of it from poll.
void put(const std::string& text) { static_cast<void>(write_all(STDOUT_FILENO, text)); }

bool set(const char* name) {
    const char* value = getenv(name);
    return value != nullptr && *value != 0;
}

}  // namespace

bool Screen::possible() {
    const char* term = getenv("TERM");
    return isatty(STDOUT_FILENO) == 1 && term != nullptr && std::string_view(term) != "dumb";
}

Screen::Screen() : keys_(isatty(STDIN_FILENO) == 1), colours_(!set("NO_COLOR")) { enter(); }

Screen::~Screen() { leave(); }

void Screen::enter() {
    if (entered_) return;
    entered_ = true;
    termios mode{};
    if (keys_ && tcgetattr(STDIN_FILENO, &mode) == 0) {
        before_ = mode;
        mode.c_lflag &= ~static_cast<tcflag_t>(ICANON | ECHO);
        mode.c_cc[VMIN] = 0;
        mode.c_cc[VTIME] = 0;
        tcsetattr(STDIN_FILENO, TCSADRAIN, &mode);
    }
    put("\033[?1049h\033[?25l");
}

void Screen::leave() {
    if (!entered_) return;
    entered_ = false;
    put("\033[?25h\033[?1049l");
    if (before_) tcsetattr(STDIN_FILENO, TCSADRAIN, &*before_);
    before_.reset();
}

Screen::Size Screen::size() const {
    winsize found{};
    if (ioctl(STDOUT_FILENO, TIOCGWINSZ, &found) != 0 || found.ws_col == 0 || found.ws_row == 0)
        return {80, 24};
    return {found.ws_col, found.ws_row};
}

void Screen::draw(const std::vector<std::string>& lines) {
    std::string frame = "\033[H";
    size_t rows = size().rows;
    for (size_t i = 0; i < lines.size() && i < rows; i++)
        frame += (i == 0 ? "" : "\r\n") + lines[i] + "\033[K";
    put(frame + "\033[J");
}

}  // namespace dmfs::cli
