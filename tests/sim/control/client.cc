#include "sim/control/people.h"
#include "sim/disk.h"

namespace dmfs::sim {

namespace {

Bio new_request(World* world, Memory* memory) {
    Bio bio;
    bio.op = world->chance(50) ? Op::read : Op::write;
    bio.sector = world->upto(kSectors - 9);
    bio.count = 1 + world->upto(7);
    bio.memory = memory;
    return bio;
}

void look_at_answer(World* world, const Bio& bio, Status status) {
    for (Sector s = bio.sector; s < bio.end(); s++) {
        if (bio.op == Op::write)
            world->model.end_write(s, status.good(), false, !status);
        else if (status && !world->merged)
            world->model.check_read(s, value_in(bio.data() + bytes_of(s - bio.sector)));
    }
}

}  // namespace

Task<Status> client(World* world, std::string name) {
    world->at_work++;
    Memory memory(bytes_of(8));
    while (!world->stop) {
        Task<Status> waiting = pause(world, 10 * kMs);
        Status waited = co_await waiting;
        static_cast<void>(waited);
        std::shared_ptr<Volume> volume = world->find(name), open;
        try {
            if (volume) open = world->dm->volumes().open(volume);
        } catch (const Refused&) {
        }
        if (!open) continue;
        Bio bio = new_request(world, &memory);
        if (name == "up") bio.op = Op::read;  // what is below has its own writers
        const bool modelled = name == "disk";
        if (modelled && !world->model.take(bio.sector, bio.end())) continue;
        for (Sector s = bio.sector; s < bio.end(); s++) {
            uint64_t value = world->next_value++;
            fill(memory.data() + bytes_of(s - bio.sector), value);
            if (modelled && bio.op == Op::write) world->model.begin_write(s, value);
        }
        std::shared_ptr<Mortal> mortal = new_mortal(world);
        bio.cancel = mortal.get();
        Task<Status> task = open->io(bio);
        Status status = co_await task;
        check_killed(world, *mortal, name + ": a request");
        if (status && bio.op == Op::write && world->log_of.contains(open->id()))
            world->answered[world->log_of[open->id()]]++;
        try {
            if (modelled) look_at_answer(world, bio, status);
        } catch (const std::exception& error) {
            world->note_failure(std::string("disk: ") + error.what());
        }
        if (modelled) world->model.leave(bio.sector, bio.end());
    }
    world->at_work--;
    co_return kOk;
}

}  // namespace dmfs::sim
