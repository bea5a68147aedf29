#include "cli/report.h"

#include <algorithm>
#include <cctype>

namespace dmfs::cli {

namespace {

std::string join(const std::vector<std::string>& cells, const std::string& separator) {
    std::string line;
    for (size_t i = 0; i < cells.size(); i++) line += (i == 0 ? "" : separator) + cells[i];
    return line + "\n";
}

// A value between single quotes, for a shell.
std::string quoted(const std::string& value) {
    std::string out = "'";
    for (char c : value) out += c == '\'' ? "'\\''" : std::string(1, c);
    return out + "'";
}

}  // namespace

std::string Report::cell(size_t column, const std::string& value, bool heading) const {
    std::string text = value;
    if (options_.name_prefixes && !heading) {
        std::string name = "DM_" + columns_[column].field;
        std::transform(name.begin(), name.end(), name.begin(),
                       [](unsigned char c) { return std::toupper(c); });
        text = name + "=" + (options_.unquoted ? value : quoted(value));
    }
    if (!aligned_ || text.size() >= widths_[column]) return text;
    size_t padding = widths_[column] - text.size();
    bool right = columns_[column].number && !heading;
    return right ? std::string(padding, ' ') + text : text + std::string(padding, ' ');
}

std::vector<std::string> Report::headings() const {
    std::vector<std::string> cells;
    for (size_t i = 0; i < columns_.size(); i++) cells.push_back(cell(i, columns_[i].heading, true));
    return cells;
}

std::string Report::text() const {
    aligned_ = options_.headings && !options_.name_prefixes && !options_.separator;
    std::string separator = options_.separator.value_or(options_.headings ? " " : ":");
    widths_.clear();
    for (size_t i = 0; i < columns_.size(); i++) {
        size_t width = std::max(columns_[i].width, columns_[i].heading.size());
        for (const auto& row : rows_) width = std::max(width, row[i].size());
        widths_.push_back(width);
    }

    std::string out;
    if (rows_.empty()) return out;  // as dmsetup: not even headings
    if (options_.rows) {
        for (size_t i = 0; i < columns_.size(); i++) {
            std::vector<std::string> cells;
            if (options_.headings) cells.push_back(columns_[i].heading);
            for (const auto& row : rows_) cells.push_back(cell(i, row[i], false));
            out += join(cells, separator);
        }
        return out;
    }
    if (options_.headings) out += join(headings(), separator);
    for (const auto& row : rows_) {
        std::vector<std::string> cells;
        for (size_t i = 0; i < columns_.size(); i++) cells.push_back(cell(i, row[i], false));
        out += join(cells, separator);
    }
    return out;
}

}  // namespace dmfs::cli
