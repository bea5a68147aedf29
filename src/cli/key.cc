// key: the mount's own keyring, from which tables take keys: `:32:logon:disk` in a crypt row.
//
// A key comes from a file, from stdin, or from a terminal that does not show it; never
// from the command line, which everybody sees.

#include <fcntl.h>
#include <fmt/format.h>
#include <termios.h>
#include <unistd.h>

#include <nlohmann/json.hpp>

#include "base/words.h"
#include "cli/commands.h"
#include "crypto/hex.h"

namespace dmfs::cli {

namespace {

constexpr size_t kMostBytes = 65536;  // of a file with a key in it

// A terminal shows nothing of what is typed.
class Quiet {
  public:
    Quiet() {
        if (tcgetattr(STDIN_FILENO, &before_) != 0) return;
        termios quiet = before_;
        quiet.c_lflag &= ~static_cast<tcflag_t>(ECHO);
        changed_ = tcsetattr(STDIN_FILENO, TCSAFLUSH, &quiet) == 0;
    }
    Quiet(const Quiet&) = delete;
    Quiet& operator=(const Quiet&) = delete;
    ~Quiet() {
        if (!changed_) return;
        tcsetattr(STDIN_FILENO, TCSAFLUSH, &before_);
        fmt::print(stderr, "\n");
    }

  private:
    termios before_{};
    bool changed_ = false;
};

// Up to the end of the file; of a terminal, up to the end of the line.
Secret read_all(int fd, bool is_terminal) {
    Secret read_so_far(kMostBytes);
    std::span<std::byte> space = read_so_far.bytes();
    size_t size = 0;
    while (size < space.size()) {
        ssize_t got = ::read(fd, space.data() + size, space.size() - size);
        if (got < 0 && errno == EINTR) continue;
        if (got < 0) throw Refused(errno, "cannot read the key");
        size += static_cast<size_t>(got);
        if (got == 0 || (is_terminal && space[size - 1] == std::byte{'\n'})) break;
    }
    if (size == space.size()) throw Refused(EFBIG, "the key is too long");
    return Secret(std::span<const std::byte>(space.first(size)));
}

// Digits without the blanks and newlines among them.
Secret from_digits(const Secret& text) {
    Secret digits(text.size());
    size_t size = 0;
    for (std::byte each : text.bytes())
        if (!isspace(static_cast<unsigned char>(each))) digits.bytes()[size++] = each;
    return parse_hex({reinterpret_cast<const char*>(digits.bytes().data()), size});
}

Secret read_key(const Invocation& invocation) {
    if (invocation.arguments.size() > 3 && invocation.arguments[3] != "-") {
        const std::string& path = invocation.arguments[3];
        int fd = open(path.c_str(), O_RDONLY | O_CLOEXEC);
        if (fd < 0) throw Refused(errno, "cannot open the key file " + path);
        Secret key = read_all(fd, false);
        close(fd);
        return invocation.options.hex ? from_digits(key) : std::move(key);
    }
    if (isatty(STDIN_FILENO) == 0) {
        Secret key = read_all(STDIN_FILENO, false);
        return invocation.options.hex ? from_digits(key) : std::move(key);
    }
    fmt::print(stderr, "the key, as hexadecimal digits: ");
    Quiet quiet;
    return from_digits(read_all(STDIN_FILENO, true));
}

void add(Invocation& invocation) {
    const std::vector<std::string>& words = invocation.arguments;
    Secret key = read_key(invocation);
    if (key.size() == 0) throw Refused(EINVAL, "the key is empty", "some bytes on stdin, or a file");
    std::string request =
        fmt::format("add {} {} {}\n", quote_word(words[1]), quote_word(words[2]), hex_of(key.bytes()));
    invocation.control().write("keyring", request);
}

void list(Invocation& invocation) {
    std::string text = invocation.control().read("keyring");
    if (!invocation.options.json) {
        fmt::print("{}", text);
        return;
    }
    Json keys = Json::array();
    for (std::string_view line : lines_of(text))
        if (std::vector<Word> words = split_words(line); words.size() == 3)
            keys.push_back({{"type", words[0].text},
                            {"description", words[1].text},
                            {"bytes", parse_decimal(words[2].text).value_or(0)}});
    print_json({{"keys", keys}});
}

}  // namespace

int key(Invocation& invocation) {
    const std::vector<std::string>& words = invocation.arguments;
    if (words[0] == "add" && words.size() >= 3)
        add(invocation);
    else if (words[0] == "remove" && words.size() == 3)
        invocation.control().write("keyring",
                                   fmt::format("remove {} {}\n", quote_word(words[1]), quote_word(words[2])));
    else if (words[0] == "list" && words.size() == 1)
        list(invocation);
    else
        throw Refused(EINVAL, "this is no request to the keyring",
                      "add TYPE DESCRIPTION [--hex] [FILE], remove TYPE DESCRIPTION, list");
    return 0;
}

}  // namespace dmfs::cli
