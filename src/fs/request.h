// What every FUSE request needs: its reply, and its interruption when the process
// that waits for it is killed. libfuse is told to listen only when the request
// begins to wait, so a request that goes straight through pays nothing.

#pragma once

#include "fs/fuse.h"

#include "engine/wait.h"

namespace dmfs::fs {

class Request final : public Cancel {
  public:
    explicit Request(fuse_req_t request) : request_(request) {}

    // Each ends the request; nothing of it may be used afterwards.
    void reply(Status status) {
        disarm();
        fuse_reply_err(request_, status.error());
    }
    void reply_data(const std::byte* data, size_t bytes) {
        disarm();
        fuse_reply_buf(request_, reinterpret_cast<const char*>(data), bytes);
    }
    void reply_written(size_t bytes) {
        disarm();
        fuse_reply_write(request_, bytes);
    }
    void reply_entry(const fuse_entry_param& entry) {
        disarm();
        fuse_reply_entry(request_, &entry);
    }

  protected:
    void about_to_wait() override {
        if (armed_.exchange(true, std::memory_order_acq_rel)) return;
        fuse_req_interrupt_func(
            request_, [](fuse_req_t, void* self) { static_cast<Request*>(self)->request(); }, this);
    }

  private:
    // Also waits for an interruption that is just being delivered.
    void disarm() {
        if (armed_.load(std::memory_order_acquire)) fuse_req_interrupt_func(request_, nullptr, nullptr);
    }

    fuse_req_t request_;
    std::atomic<bool> armed_{false};
};

}  // namespace dmfs::fs
