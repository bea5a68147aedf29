#include "fs/signals.h"

#include <pthread.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <string>

#include "catch.h"

using namespace dmfs::fs;

namespace {

constexpr const char* kNone = "0000000000000000";

std::string hex_of(int signal) {
    char text[17];
    snprintf(text, sizeof text, "%016lx", 1UL << (signal - 1));
    return text;
}

struct Sets {
    std::string pending = kNone, shared = kNone, blocked = kNone, ignored = kNone, caught = kNone;
};

std::string status_of(const Sets& sets) {
    return "Name:\tdd\nState:\tD (disk sleep)\nVmSize:\t    2660 kB\nSigQ:\t1/95956\nSigPnd:\t" +
           sets.pending + "\nShdPnd:\t" + sets.shared + "\nSigBlk:\t" + sets.blocked + "\nSigIgn:\t" +
           sets.ignored + "\nSigCgt:\t" + sets.caught + "\nCapInh:\t0000000000000000\n";
}

}  // namespace

TEST_CASE("a signal that is handled, ignored, blocked or harmless ends no wait") {
    for (Until until : {Until::killed, Until::asked}) {
        CHECK_FALSE(ends_wait(status_of({}), until));
        CHECK_FALSE(ends_wait(status_of({.pending = hex_of(SIGALRM), .caught = hex_of(SIGALRM)}), until));
        CHECK_FALSE(ends_wait(status_of({.shared = hex_of(SIGALRM), .caught = hex_of(SIGALRM)}), until));
        CHECK_FALSE(ends_wait(status_of({.shared = hex_of(SIGHUP), .ignored = hex_of(SIGHUP)}), until));
        CHECK_FALSE(ends_wait(status_of({.shared = hex_of(SIGINT), .blocked = hex_of(SIGINT)}), until));
        CHECK_FALSE(ends_wait(status_of({.shared = hex_of(SIGCHLD)}), until));
        CHECK_FALSE(ends_wait(status_of({.shared = hex_of(SIGTSTP)}), until));
    }
}

TEST_CASE("what ends the process ends its waits") {
    for (Until until : {Until::killed, Until::asked}) {
        CHECK(ends_wait(status_of({.pending = hex_of(SIGKILL)}), until));
        CHECK(ends_wait(status_of({.shared = hex_of(SIGKILL)}), until));
        CHECK(ends_wait(status_of({.shared = hex_of(SIGQUIT)}), until));  // it dumps core
    }
}

TEST_CASE("who asks for an end of a control operation is heard, although a shell handles it") {
    for (int signal : {SIGINT, SIGTERM, SIGHUP, SIGQUIT}) {
        std::string status = status_of({.shared = hex_of(signal), .caught = hex_of(signal)});
        CHECK(ends_wait(status, Until::asked));
        CHECK_FALSE(ends_wait(status, Until::killed));
    }
}

TEST_CASE("any signal ends a wait for news") { CHECK(ends_wait(status_of({}), Until::signal)); }

TEST_CASE("of what is not known, and what has no memory any more, a wait ends") {
    CHECK(ends_wait("", Until::killed));
    CHECK(ends_wait("Name:\tdd\nState:\tR (running)\nSigPnd:\t0000000000000000\n", Until::killed));
    CHECK(ends_wait(0, Until::killed));
    CHECK(ends_wait(1 << 30, Until::killed));
}

TEST_CASE("a thread's own signals are found in /proc") {
    CHECK_FALSE(ends_wait(gettid(), Until::killed));
    // Pending, as nobody takes it: a child that has stopped.
    pid_t child = fork();
    if (child == 0) {
        raise(SIGSTOP);
        _exit(0);
    }
    int status = 0;
    REQUIRE(waitpid(child, &status, WUNTRACED) == child);
    CHECK_FALSE(ends_wait(child, Until::killed));
    kill(child, SIGQUIT);
    CHECK(ends_wait(child, Until::killed));
    kill(child, SIGKILL);
    REQUIRE(waitpid(child, &status, 0) == child);
}
