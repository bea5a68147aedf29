// trace: the requests of volumes, as they end, one line each.
//
//     15:04:05.155464  dd[9181]  read   0+128   109 us  ok  low:64+128>/a.img:164+128

#include <fcntl.h>
#include <fmt/format.h>
#include <unistd.h>

#include <cstdio>
#include <cstring>
#include <ctime>
#include <mutex>
#include <nlohmann/json.hpp>
#include <thread>

#include "base/words.h"
#include "cli/commands.h"

namespace dmfs::cli {

namespace {

constexpr size_t kReadBytes = 1 << 20;
constexpr const char* kRed = "\033[31m";
constexpr const char* kPlain = "\033[0m";

std::string latency_text(uint64_t ns) {
    if (ns < 10'000'000) return fmt::format("{} us", ns / 1000);
    if (ns < 10'000'000'000) return fmt::format("{} ms", ns / 1'000'000);
    return fmt::format("{} s", ns / 1'000'000'000);
}

std::string time_text(const std::string& seconds) {
    auto whole = static_cast<time_t>(parse_decimal(seconds.substr(0, seconds.find('.'))).value_or(0));
    tm local{};
    localtime_r(&whole, &local);
    size_t dot = seconds.find('.');
    return fmt::format("{:02}:{:02}:{:02}{}", local.tm_hour, local.tm_min, local.tm_sec,
                       dot == std::string::npos ? "" : seconds.substr(dot));
}

std::string error_text(uint64_t error) {
    if (error == 0) return "ok";
    const char* name = strerrorname_np(static_cast<int>(error));
    return name != nullptr ? name : std::to_string(error);
}

// Prints lines of a trace file; of several volumes each with its name in front.
class Printer {
  public:
    Printer(const Invocation& invocation, bool named)
        : json_(invocation.options.json),
          named_(named),
          colour_(isatty(STDOUT_FILENO) != 0),
          left_(invocation.options.count.value_or(UINT64_MAX)) {}

    // False: enough has been printed, or nobody reads any more.
    bool print(const std::string& volume, std::string_view line) {
        std::lock_guard guard(mutex_);
        if (left_ == 0) return false;
        std::vector<Word> words = split_words(line);
        if (words.size() == 3 && words[0].text == "#") {
            print_lost(volume, words[1].text);
        } else if (words.size() >= 9) {
            if (json_)
                print_object(volume, words);
            else
                print_line(volume, words, line);
            left_--;
        }
        return fflush(stdout) == 0 && left_ > 0;
    }

    bool wanted() {
        std::lock_guard guard(mutex_);
        return left_ > 0;
    }

  private:
    void print_lost(const std::string& volume, const std::string& count) const {
        if (json_)
            fmt::print("{}\n", Json{{"volume", volume}, {"lost", parse_decimal(count).value_or(0)}}.dump(
                                   -1, ' ', false, Json::error_handler_t::replace));
        else
            fmt::print("# {}: {} requests lost, they came faster than they can be told\n", volume, count);
    }

    static uint64_t number(const Word& word) { return parse_decimal(word.text).value_or(0); }

    void print_object(const std::string& volume, const std::vector<Word>& words) const {
        uint64_t error = number(words[7]);
        Json object{{"volume", volume},
                    {"time", words[0].text},
                    {"process", number(words[1])},
                    {"name", words[2].text},
                    {"operation", words[3].text},
                    {"sector", number(words[4])},
                    {"count", number(words[5])},
                    {"latency_ns", number(words[6])},
                    {"error", error == 0 ? Json() : Json(error_text(error))},
                    {"path", words[8].text}};
        fmt::print("{}\n", object.dump(-1, ' ', false, Json::error_handler_t::replace));
    }

    void print_line(const std::string& volume, const std::vector<Word>& words, std::string_view line) const {
        uint64_t error = number(words[7]);
        std::string result = error_text(error);
        if (error != 0 && colour_) result = kRed + result + kPlain;
        fmt::print("{}  {}{:<18} {:<12} {:>18} {:>9}  {:<6} {}\n", time_text(words[0].text),
                   named_ ? volume + "  " : "", words[2].text + "[" + words[1].text + "]", words[3].text,
                   number(words[5]) == 0 ? "-" : words[4].text + "+" + words[5].text,
                   latency_text(number(words[6])), result, line.substr(words[8].column));
    }

    const bool json_, named_, colour_;
    std::mutex mutex_;
    uint64_t left_;
};

// Reads one trace file to its end: the volume is removed, or enough was printed.
void follow(int fd, const std::string& volume, Printer& printer) {
    std::string buffer(kReadBytes, '\0');
    while (true) {
        ssize_t got = ::read(fd, buffer.data(), buffer.size());
        if (got < 0 && errno == EINTR) continue;
        if (got <= 0) return;
        std::string text = buffer.substr(0, static_cast<size_t>(got));
        for (std::string_view line : lines_of(std::string_view(text)))
            if (!printer.print(volume, line)) return;
    }
}

}  // namespace

int trace(Invocation& invocation) {
    std::vector<std::string> names = take_volumes(invocation, true);
    if (names.empty()) throw Refused(ENXIO, "there is no volume to trace");
    Printer printer(invocation, names.size() > 1);
    std::vector<int> files;
    for (const std::string& name : names) files.push_back(invocation.control().open(name, "trace", O_RDONLY));
    if (names.size() == 1) {
        follow(files[0], names[0], printer);
        return 0;
    }
    std::vector<std::thread> threads;
    for (size_t i = 0; i < names.size(); i++)
        threads.emplace_back([&, i] {
            follow(files[i], names[i], printer);
            if (!printer.wanted()) _exit(0);  // the others may wait for requests that never come
        });
    for (std::thread& thread : threads) thread.join();
    return 0;
}

}  // namespace dmfs::cli
