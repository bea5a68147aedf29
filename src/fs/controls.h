// The files of the control tree: what reading one says, what writing one does
// (dmfs-control(7)). Why the last request was refused is kept here, for `error`.

#pragma once

#include <atomic>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <string>

#include "dm/device_mapper.h"
#include "dm/trace.h"
#include "fs/nodes.h"
#include "fs/writer_folder.h"

namespace dmfs::fs {

// An open file of the control tree. A request that hung and was killed has its answer before it ends,
// and the file may be closed then: so each request keeps it.
struct ControlFile : std::enable_shared_from_this<ControlFile> {
    explicit ControlFile(Executor& executor) : writing(executor) {}
    ControlFile(const ControlFile&) = delete;
    ControlFile& operator=(const ControlFile&) = delete;
    ~ControlFile() {
        if (trace) volume->unwatch(*trace);
    }

    Node node;
    std::shared_ptr<Volume> volume;    // or nullptr: of the mount itself
    std::shared_ptr<Trace> trace;      // trace: from the open to the close
    Lock writing;                      // one write at a time; guards what follows
    std::string written;               // text that may still grow ...
    std::atomic<bool> held{false};     // ... and has not been applied yet
    unsigned pieces = 0;               // how many writes it came in
    Status spoiled;                    // why a part of it was refused
    std::shared_ptr<Table> checked;    // what it makes, if all of it is checked
    WriterFolder writer;               // who wrote last ...
    std::string folder;                // ... and where its paths begin; empty: can't be known
    std::atomic<unsigned> writers{0};  // those who write now, or wait for their turn
    std::atomic<bool> killed{false};   // one who closed it was killed in the middle of it: see drop()

    std::mutex mutex;                   // guards what follows
    std::string text;                   // what is being read
    std::optional<std::string> answer;  // to what was written here, for whoever wrote it
    uint32_t events_seen = 0;           // events: the number that was read last ...
    bool events_read = false;           // ... if any was
    fuse_pollhandle* poll = nullptr;
};

class Controls {
  public:
    Controls(DeviceMapper& dm, std::string options_text) : dm_(dm), options_text_(std::move(options_text)) {}

    // What the file says now.
    std::string text(Node node, Volume* volume);

    // A write of `text` at `offset`. A table is checked now and applied at close: a
    // shell writes each line by itself, and half a table shall not go live. `create`
    // makes the volumes of whole lines; the other files do what they are told.
    Task<Status> write(ControlFile* file, std::string text, uint64_t offset, WriterFolder writer,
                       Cancel* cancel);
    // At close: applies what is held; `killed`: the process that closes was killed in
    // the middle of it, so it is dropped.
    Task<Status> finish(ControlFile* file, bool killed, Cancel* cancel);
    // Truncation of a file to nothing; only `inactive` minds.
    void truncate(Node node, Volume& volume);

    // Notes how a request on a volume (0: on the mount) ended; its errno.
    Status note(uint64_t id, const Outcome& outcome, const std::string& what);
    void forget(uint64_t id);

  private:
    std::string text_of_mount(Node node);
    std::string text_of_volume(Node node, const Volume& volume);
    std::string answer(Node node);  // to what was last written there
    std::string last_error(uint64_t id);
    Task<Outcome> check_table(ControlFile* file, Cancel* cancel);
    Task<Status> write_held(ControlFile* file, std::string text, uint64_t offset, Cancel* cancel);
    Task<Status> finish_held(ControlFile* file, Cancel* cancel);
    Task<Outcome> find_folder(ControlFile* file, WriterFolder writer, Cancel* cancel);
    static void drop(ControlFile& file);
    static void spoil(ControlFile& file, const Refused& refused);
    void keep_answer(ControlFile& file, const std::string& answer);
    Task<Outcome> apply_table(ControlFile* file, Cancel* cancel);
    Task<Outcome> apply(ControlFile* file, std::string text, Cancel* cancel);

    DeviceMapper& dm_;
    const std::string options_text_;
    std::mutex mutex_;
    std::map<uint64_t, std::string> errors_;
    std::map<Node, std::string> answers_;  // of the last message or question
};

}  // namespace dmfs::fs
