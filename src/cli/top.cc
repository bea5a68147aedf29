// top: what the volumes do now, a line each, again and again.
//
// On a terminal it has the screen until q or a signal; else, and with -b, it prints
// plain lines, with --json one object a sample. Signals come through a descriptor, so
// nothing is ever interrupted half done.

#include <fmt/format.h>
#include <poll.h>
#include <signal.h>
#include <sys/signalfd.h>
#include <time.h>
#include <unistd.h>

#include <nlohmann/json.hpp>

#include "cli/commands.h"
#include "cli/escape.h"
#include "cli/top_rates.h"
#include "cli/top_sampler.h"
#include "cli/top_screen.h"

namespace dmfs::cli {

namespace {

constexpr double kDelay = 2;     // seconds
constexpr double kNoAnswer = 3;  // after so many seconds the screen says so

double seconds_now() {
    timespec now{};
    clock_gettime(CLOCK_MONOTONIC, &now);
    return static_cast<double>(now.tv_sec) + static_cast<double>(now.tv_nsec) / 1e9;
}

double time_of_day() {
    timespec now{};
    clock_gettime(CLOCK_REALTIME, &now);
    return static_cast<double>(now.tv_sec) + static_cast<double>(now.tv_nsec) / 1e9;
}

// The signals that `top` answers itself, as a descriptor.
class Signals {
  public:
    Signals() {
        sigset_t set;
        sigemptyset(&set);
        for (int signal : {SIGINT, SIGTERM, SIGHUP, SIGQUIT, SIGWINCH, SIGTSTP}) sigaddset(&set, signal);
        pthread_sigmask(SIG_BLOCK, &set, &before_);
        pipe_before_ = signal(SIGPIPE, SIG_IGN);
        fd_ = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
        if (fd_ < 0) throw Refused(errno, "cannot wait for signals");
    }
    ~Signals() {
        close(fd_);
        signal(SIGPIPE, pipe_before_);
        pthread_sigmask(SIG_SETMASK, &before_, nullptr);
    }
    Signals(const Signals&) = delete;
    Signals& operator=(const Signals&) = delete;

    int fd() const { return fd_; }
    int take() const {
        signalfd_siginfo info{};
        return read(fd_, &info, sizeof info) == sizeof info ? static_cast<int>(info.ssi_signo) : 0;
    }

  private:
    int fd_ = -1;
    sigset_t before_{};
    void (*pipe_before_)(int) = SIG_DFL;
};

class Top {
  public:
    Top(Invocation& invocation, const std::string& where, Sampler& sampler, const Signals& signals)
        : options_(invocation.options),
          where_(where),
          sampler_(sampler),
          signals_(signals),
          delay_(options_.delay.value_or(static_cast<double>(options_.interval.value_or(0)))),
          sort_(parse_sort_key(options_.sort.value_or("busy"))) {
        if (delay_ <= 0) delay_ = kDelay;
        if (!options_.batch && !options_.json && Screen::possible()) screen_.emplace();
    }

    // Until the last sample, q, or a signal: that signal, or 0.
    int run() {
        double asked = seconds_now();
        bool waiting = true;
        sampler_.request();
        while (true) {
            double next = asked + (waiting ? kNoAnswer : delay_);
            int timeout = static_cast<int>(std::max(0.0, next - seconds_now()) * 1000 + 0.999);
            pollfd wait[] = {{signals_.fd(), POLLIN, 0},
                             {sampler_.ready_fd(), POLLIN, 0},
                             {screen_ && screen_->has_keys() ? STDIN_FILENO : -1, POLLIN, 0}};
            if (poll(wait, 3, waiting && silent_ ? -1 : timeout) < 0 && errno != EINTR)
                throw Refused(errno, "cannot wait");
            if (wait[0].revents != 0)
                if (int signal = handle(signals_.take()); signal != 0) return signal;
            if (wait[1].revents != 0) {
                if (std::optional<Sample> sample = sampler_.take()) show(std::move(*sample));
                waiting = silent_ = false;
                if (over_) return 0;
            }
            if (wait[2].revents != 0 && !key(wait[2].revents)) return 0;
            if (seconds_now() < next) continue;
            if (waiting) {
                silent_ = true;
                redraw();
            } else {
                asked = seconds_now();
                waiting = true;
                sampler_.request();
            }
        }
    }

  private:
    // What ends the loop, or 0.
    int handle(int signal) {
        if (signal == SIGTSTP) {
            if (screen_) screen_->leave();
            kill(getpid(), SIGSTOP);
            if (screen_) screen_->enter();
        }
        if (signal == SIGTSTP || signal == SIGWINCH) redraw();
        return signal == SIGTSTP || signal == SIGWINCH ? 0 : signal;
    }

    bool key(short events) {
        char pressed = 0;
        if (read(STDIN_FILENO, &pressed, 1) != 1) return (events & (POLLHUP | POLLERR)) == 0;
        if (pressed == 'q' || pressed == 'Q') return false;
        if (pressed == 's') sort_ = next_of(sort_);
        redraw();
        return true;
    }

    void show(Sample sample) {
        bool first = !last_;
        seconds_ = first ? 0 : static_cast<double>(sample.at_ns - last_->at_ns) / 1e9;
        rates_ = rates_between(first ? sample : *last_, sample);
        last_ = std::move(sample);
        if (screen_) redraw();
        if (first) return;
        if (!screen_) print();
        over_ |= ++shown_ == options_.count.value_or(0);
    }

    void print() {
        sort_rates(rates_, sort_);
        if (options_.json) {
            Json json{{"time", time_of_day()}};
            json.update(rates_json(rates_, seconds_));
            fmt::print("{}\n", json.dump(-1, ' ', false, Json::error_handler_t::replace));
        } else {
            size_t width = name_width_of(rates_, 0, true);
            if (options_.headings) fmt::print("{}\n", rates_heading(width));
            for (const Rates& one : rates_) fmt::print("{}\n", rates_line(one, width, true));
            fmt::print("\n");
        }
        over_ |= fflush(stdout) != 0;  // whoever read this has gone
    }

    void redraw() {
        if (!screen_) return;
        sort_rates(rates_, sort_);
        auto [columns, rows] = screen_->size();
        std::string head = fmt::format("dmfs top  {}  {} volumes  every {:g} s  by {} (s: another)  q: quit",
                                       printable(where_), rates_.size(), delay_, name_of(sort_));
        if (silent_) head = "dmfs top  " + printable(where_) + "  does not answer";
        std::vector<std::string> lines = {shortened(head, columns - 1), ""};
        size_t width = name_width_of(rates_, columns, false);
        lines.push_back(coloured("7", shortened(rates_heading(width), columns)));
        for (const Rates& one : rates_) {
            if (lines.size() == rows) {
                lines.back() = fmt::format("and {} more", rates_.size() + 4 - rows);
                break;
            }
            std::string line = shortened(rates_line(one, width, false), columns);
            const char* colour = one.errors > 0 ? "31" : one.suspended || one.parked > 0 ? "33" : "";
            lines.push_back(coloured(colour, line));
        }
        screen_->draw(lines);
    }

    std::string coloured(const char* code, const std::string& text) const {
        if (*code == 0 || !screen_->colours()) return text;
        return fmt::format("\033[{}m{}\033[0m", code, text);
    }

    const Options& options_;
    const std::string where_;
    Sampler& sampler_;
    const Signals& signals_;
    double delay_;
    SortKey sort_;
    std::optional<Screen> screen_;

    std::optional<Sample> last_;
    std::vector<Rates> rates_;
    double seconds_ = 0;
    uint64_t shown_ = 0;
    bool over_ = false, silent_ = false;
};

}  // namespace

int top(Invocation& invocation) {
    const Options& options = invocation.options;
    const ControlClient& control = invocation.control();
    std::vector<std::string> names;
    if (!invocation.arguments.empty() || options.uuid || options.minor || options.select) {
        names = take_volumes(invocation, true);
        if (names.empty()) throw Refused(ENXIO, "no volume matches");
    }
    int signal = 0;
    {
        Signals signals;
        Sampler sampler(control, names);
        signal = Top(invocation, control.mountpoint(), sampler, signals).run();
    }
    // Whoever waits for this process shall see what ended it.
    if (signal != 0) raise(signal);
    return 0;
}

}  // namespace dmfs::cli
