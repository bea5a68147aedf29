// Tables of columns, as dmsetup prints them: `info -c` and `splitname`.
//
//     Name             Maj Min Stat Open Targ Event  UUID
//     disk               0   0 L--w    0    1      0
//
// Aligned, a column is as wide as its field asks for, its heading or its longest
// value. Without headings, with prefixes or with a separator nothing is aligned.

#pragma once

#include <string>
#include <vector>

#include "cli/options.h"

namespace dmfs::cli {

struct Column {
    std::string field;  // "lv_name": DM_LV_NAME with --nameprefixes
    std::string heading;
    size_t width = 0;
    bool number = false;  // numbers stand to the right
};

class Report {
  public:
    Report(std::vector<Column> columns, const Options& options)
        : columns_(std::move(columns)), options_(options) {}

    void add(std::vector<std::string> values) { rows_.push_back(std::move(values)); }
    // The whole report, newline at the end of each line.
    std::string text() const;

  private:
    std::string cell(size_t column, const std::string& value, bool heading) const;
    std::vector<std::string> headings() const;

    std::vector<Column> columns_;
    const Options& options_;
    std::vector<std::vector<std::string>> rows_;
    mutable std::vector<size_t> widths_;
    mutable bool aligned_ = true;
};

}  // namespace dmfs::cli
