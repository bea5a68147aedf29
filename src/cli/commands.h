// The functions behind the names in command_table.cc, by the file that holds them.

#pragma once

#include <string>

#include "cli/command.h"

namespace dmfs::cli {

// create.cc
int create(Invocation& invocation);
int load(Invocation& invocation);

// change.cc
int suspend(Invocation& invocation);
int resume(Invocation& invocation);
int clear(Invocation& invocation);
int remove(Invocation& invocation);
int remove_all(Invocation& invocation);
int wipe_table(Invocation& invocation);
int rename(Invocation& invocation);
int message(Invocation& invocation);
int set_geometry(Invocation& invocation);
int wait(Invocation& invocation);
int mangle(Invocation& invocation);
int mknodes(Invocation& invocation);
int udev(Invocation& invocation);

// inspect.cc
int table(Invocation& invocation);
int status(Invocation& invocation);
int measure(Invocation& invocation);
int deps(Invocation& invocation);
int ls(Invocation& invocation);
int ls_tree(Invocation& invocation);  // tree.cc

// info.cc
int info(Invocation& invocation);
int devmap_name(Invocation& invocation);
int splitname(Invocation& invocation);
void print_info(const Invocation& invocation, const VolumeInfo& info);

// about.cc
int help(Invocation& invocation);
int version(Invocation& invocation);
int targets(Invocation& invocation);
int target_version(Invocation& invocation);

// explain.cc, trace.cc
int explain(Invocation& invocation);
int trace(Invocation& invocation);

// graph.cc, top.cc, doctor.cc
int graph(Invocation& invocation);
int top(Invocation& invocation);
int doctor(Invocation& invocation);

// key.cc
int key(Invocation& invocation);

// mount.cc, attach.cc, save.cc
int mount(Invocation& invocation);
int umount(Invocation& invocation);
int attach(Invocation& invocation);
int detach(Invocation& invocation);
int save(Invocation& invocation);

// snapshot.cc, merge.cc
int snapshot(Invocation& invocation);
int overlay(Invocation& invocation);
int fork(Invocation& invocation);
int drop(Invocation& invocation);
int merge(Invocation& invocation);

// replay.cc, verity.cc
int replay(Invocation& invocation);
int verity(Invocation& invocation);

}  // namespace dmfs::cli
