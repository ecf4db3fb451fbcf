//! Columns as Go's text/tabwriter aligns them.
//!
//! A cell ends at a tab; what follows the last tab of a line belongs to no
//! column. A column's width is that of a block of consecutive lines that have
//! a cell there, which is why this is recursive.

/// Docker's parameters: at least ten wide, three blanks between columns.
#[must_use]
pub fn docker(text: &str) -> String {
    align(text, 10, 3)
}

/// Aligns `text` with columns at least `least` wide, `padding` included in what
/// is wider.
#[must_use]
pub fn align(text: &str, least: usize, padding: usize) -> String {
    let lines: Vec<Vec<&str>> = text
        .lines()
        .map(|line| line.split('\t').collect())
        .collect();
    let mut columns = Columns {
        lines: &lines,
        least,
        padding,
        widths: Vec::new(),
        out: String::new(),
    };
    columns.block(0, lines.len());
    columns.out
}

struct Columns<'a> {
    lines: &'a [Vec<&'a str>],
    least: usize,
    padding: usize,
    widths: Vec<usize>,
    out: String,
}

impl Columns<'_> {
    /// Writes the lines `from..to`, whose columns so far have their widths.
    fn block(&mut self, from: usize, to: usize) {
        let column = self.widths.len();
        let has_cell = |line: usize| column + 1 < self.lines[line].len();
        let mut written = from;
        let mut line = from;
        while line < to {
            if !has_cell(line) {
                line += 1;
                continue;
            }
            let start = line;
            let mut width = self.least;
            while line < to && has_cell(line) {
                width = width.max(self.lines[line][column].chars().count() + self.padding);
                line += 1;
            }
            self.write(written, start);
            self.widths.push(width);
            self.block(start, line);
            self.widths.pop();
            written = line;
        }
        self.write(written, to);
    }

    fn write(&mut self, from: usize, to: usize) {
        for line in &self.lines[from..to] {
            for (index, cell) in line.iter().enumerate() {
                self.out.push_str(cell);
                if index + 1 < line.len()
                    && let Some(width) = self.widths.get(index)
                {
                    let missing = width.saturating_sub(cell.chars().count());
                    self.out.extend(std::iter::repeat_n(' ', missing));
                }
            }
            self.out.push('\n');
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_of_dockers_comes_out_byte_for_byte() {
        // From `docker ps` and `docker images`, 28.2.
        let text = "CONTAINER ID\tIMAGE\tCOMMAND\tCREATED\tSTATUS\tPORTS\tNAMES\n\
                    73caee6606e0\tbb:1\t\"sleep 1000\"\t3 seconds ago\tUp 3 seconds (Paused)\t\tc1\n";
        assert_eq!(
            docker(text),
            "CONTAINER ID   IMAGE     COMMAND        CREATED         STATUS                  PORTS     NAMES\n\
             73caee6606e0   bb:1      \"sleep 1000\"   3 seconds ago   Up 3 seconds (Paused)             c1\n"
        );
    }

    #[test]
    fn blocks_of_lines_have_widths_of_their_own() {
        assert_eq!(
            align("a\tb\nplain\nlong cell here\tc\n", 4, 1),
            "a   b\nplain\nlong cell here c\n"
        );
        assert_eq!(align("é\tx\n", 3, 1), "é  x\n");
    }
}
