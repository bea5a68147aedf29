// DMFS_SANITIZED: AddressSanitizer or ThreadSanitizer watches this build. They replace new and delete, lock
// no memory, and keep what was freed. g++ and clang say it in different words.

#pragma once

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define DMFS_SANITIZED 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
#define DMFS_SANITIZED 1
#endif
#endif
