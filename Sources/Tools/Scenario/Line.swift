/// One line of a file as words, each with its column; the reader walks along it.
struct Line {
  struct Word: Hashable {
    var text: String
    /// From 1.
    var column: Int
    var length: Int { max(1, text.count) }
  }

  let number: Int
  let source: String
  let words: [Word]
  var position = 0

  /// Words end at blanks; `|`, `+` and `->` are words of their own; `#` begins a comment.
  init(_ source: Substring, number: Int) {
    self.number = number
    self.source = String(source)
    var words: [Word] = []
    var text = ""
    var column = 0
    let characters = Array(source)
    while column < characters.count {
      let character = characters[column]
      column += 1
      let arrow = character == "-" && column < characters.count && characters[column] == ">"
      if character == "#" {
        column -= 1
        finishAt(column)
        break
      } else if character == " " || character == "\t" || character == "\r" {
        finishAt(column - 1)
      } else if character == "|" || character == "+" || arrow {
        finishAt(column - 1)
        words.append(Word(text: arrow ? "->" : String(character), column: column))
        if arrow { column += 1 }
      } else {
        text.append(character)
      }
    }
    finishAt(column)
    self.words = words

    func finishAt(_ end: Int) {
      if !text.isEmpty { words.append(Word(text: text, column: end - text.count + 1)) }
      text = ""
    }
  }

  var next: Word? { position < words.count ? words[position] : nil }
  var isAtEnd: Bool { position >= words.count }

  mutating func take() -> Word? {
    guard let word = next else { return nil }
    position += 1
    return word
  }

  /// Takes the word if it is this one.
  mutating func take(_ text: String) -> Bool {
    guard next?.text == text else { return false }
    position += 1
    return true
  }

  /// Where something is missing: one column behind the last word.
  var end: Word {
    Word(text: "", column: (words.last.map { $0.column + $0.length }) ?? 1)
  }
}
