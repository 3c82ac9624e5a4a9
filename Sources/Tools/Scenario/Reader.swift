extension Scenario {
  /// Reads the text of a scenario file, or says everything that is wrong with it.
  ///
  /// - Parameter file: its path, for the messages; the scenario is named after its last part.
  public init(reading text: String, file: String) throws(Mistakes) {
    var reader = Reader(file: file)
    reader.read(text)
    guard reader.mistakes.isEmpty else {
      throw Mistakes(all: reader.mistakes.sorted { ($0.line, $0.column) < ($1.line, $1.column) })
    }
    self = reader.scenario
  }

  /// The same for the bytes of a file, which need not be text at all.
  public init(reading bytes: some Sequence<UInt8>, file: String) throws(Mistakes) {
    guard let text = String(validating: bytes, as: UTF8.self) else {
      throw Mistakes(all: [
        Mistake(
          file: file, line: 1, column: 1, length: 1, message: "this is no text: its bytes are not UTF-8", source: "")
      ])
    }
    try self.init(reading: text, file: file)
  }
}

/// Walks over the lines of a file. A line with a mistake is left and the next one read, so that all are found at once.
struct Reader {
  let file: String
  var mistakes: [Mistake] = []
  var scenario: Scenario
  private var isInHeading = true
  private var seen: [String: Int] = [:]

  /// More than any story needs, and few enough to read in no time.
  static let maximumLines = 10_000
  static let maximumMistakes = 50

  static let statements = [
    "nodes", "backends", "interval", "vips", "auth", "peer-link", "guardian", "preempt", "lease", "at", "until",
    "expect",
  ]

  init(file: String) {
    self.file = file
    let name = file.split(separator: "/").last.map(String.init) ?? file
    scenario = Scenario(
      name: name.hasSuffix(".scenario") ? String(name.dropLast(".scenario".count)) : name, title: "", steps: [],
      end: .zero, expectations: [])
  }

  mutating func read(_ text: String) {
    var lines: [Line] = []
    for (index, source) in text.split(omittingEmptySubsequences: false, whereSeparator: { $0 == "\n" || $0 == "\r\n" })
      .enumerated()
    {
      let line = Line(source, number: index + 1)
      guard index < Self.maximumLines else {
        note(line, line.end, "the file goes on after \(Self.maximumLines) lines", "split the story")
        return
      }
      heading(source)
      lines.append(line)
    }
    // The cluster's size first: names are checked against it wherever it is written.
    for line in lines where ["nodes", "backends"].contains(line.next?.text) { attempt(line) }
    for line in lines where !line.isAtEnd && !["nodes", "backends"].contains(line.next?.text) { attempt(line) }
    finish(lines)
  }

  /// The comments on top: `# name: title`, then the drawing.
  private mutating func heading(_ source: Substring) {
    guard isInHeading else { return }
    guard source.first == "#" else {
      isInHeading = false
      while scenario.drawing.last == "" { scenario.drawing.removeLast() }
      return
    }
    let body = source.dropFirst(source.hasPrefix("# ") ? 2 : 1)
    let text = String(body.reversed().drop { $0 == " " || $0 == "\t" }.reversed())
    if scenario.title.isEmpty {
      let prefix = scenario.name + ": "
      scenario.title = text.hasPrefix(prefix) ? String(text.dropFirst(prefix.count)) : text
    } else if !(text.isEmpty && scenario.drawing.isEmpty) {
      scenario.drawing.append(text)
    }
  }

  /// One statement. `Wrong` has been noted already when it is thrown.
  private mutating func attempt(_ line: Line) {
    guard mistakes.count < Self.maximumMistakes else { return }
    var line = line
    do throws(Wrong) {
      try statement(&line)
      if let extra = line.next { throw wrong(line, extra, "nothing may follow here", nil) }
    } catch {}
  }

  private mutating func statement(_ line: inout Line) throws(Wrong) {
    guard let word = line.take() else { return }
    switch word.text {
    case "nodes":
      try once(line, word)
      scenario.nodes = try count(&line, of: "nodes", in: 1...32)
    case "backends":
      try once(line, word)
      scenario.backends = try count(&line, of: "backends", in: 0...64)
    case "interval":
      try once(line, word)
      let value = line.next ?? line.end
      scenario.interval = try duration(&line)
      guard scenario.interval >= .milliseconds(10), scenario.interval <= .milliseconds(40950) else {
        throw wrong(line, value, "an interval is 10ms to 40.95s (RFC 9568 §5.2.7)", nil)
      }
    case "until":
      try once(line, word)
      scenario.end = try duration(&line)
    case "at":
      let time = line.next ?? line.end
      let at = try duration(&line)
      if let last = scenario.steps.last, at < last.at {
        throw wrong(line, time, "the story goes back in time", "steps stand in the order in which they happen")
      }
      let action = try action(&line)
      scenario.steps.append(Step(at: at, action, line: line.number))
    case "expect":
      let first = line.position
      let claim = try claim(&line)
      let text = line.words[first..<line.position].map(\.text).joined(separator: " ")
      scenario.expectations.append(Expectation(claim, text: text, line: line.number))
    case "vips", "auth", "peer-link", "guardian", "preempt", "lease":
      try once(line, word)
      try option(word.text, &line)
    default: throw unknown(line, word, "no statement begins with", among: Self.statements)
    }
  }

  /// What can only be judged when all is read.
  private mutating func finish(_ lines: [Line]) {
    let last = lines.last ?? Line("", number: 1)
    if scenario.title.isEmpty {
      note(
        lines.first ?? last, Line.Word(text: "", column: 1), "the story has no title",
        "begin with: # \(scenario.name): what happens")
    }
    if seen["until"] == nil {
      note(last, last.end, "the story has no end", "add a line such as: until 12s")
    } else if let step = scenario.steps.last, step.at >= scenario.end, step.line > 0 {
      let line = lines[step.line - 1]
      note(line, line.words[0], "this is after the end of the story", "move `until` behind it")
    }
    for expectation in scenario.expectations {
      guard let moment = expectation.claim.moment, scenario.steps(of: moment).isEmpty else { continue }
      let line = lines[expectation.line - 1]
      let word = line.words.last { $0.text == moment.text } ?? line.words[0]
      note(line, word, "the story has no step that is a \(moment.text)", nil)
    }
    for step in scenario.steps where step.line > 0 {
      guard let missing = scenario.options.lacking(for: step.action) else { continue }
      let line = lines[step.line - 1]
      let word = line.words.first { $0.text == step.action.word } ?? line.words[0]
      note(line, word, "there is nothing to break: the file says `\(missing) off`", "leave that line out")
    }
    for line in lines where line.words.count > 2 && line.words[0].text == "at" {
      for word in line.words[2...] where word.text == "rest" && !line.words.contains(where: { $0.text == "partition" })
      {
        note(line, word, "`rest` means nothing outside a partition", "say `all`, or name the nodes")
      }
    }
  }

  private mutating func once(_ line: Line, _ word: Line.Word) throws(Wrong) {
    if let earlier = seen[word.text] {
      throw wrong(line, word, "`\(word.text)` was said in line \(earlier) already", "keep one of them")
    }
    seen[word.text] = line.number
  }
}

/// Thrown to leave a line whose mistake is noted.
struct Wrong: Error {}

extension Reader {
  mutating func note(_ line: Line, _ word: Line.Word, _ message: String, _ suggestion: String?) {
    mistakes.append(
      Mistake(
        file: file, line: line.number, column: word.column, length: word.length, message: message,
        suggestion: suggestion, source: line.source))
  }

  mutating func wrong(_ line: Line, _ word: Line.Word, _ message: String, _ suggestion: String?) -> Wrong {
    note(line, word, message, suggestion)
    return Wrong()
  }

  mutating func unknown(_ line: Line, _ word: Line.Word, _ message: String, among known: [String]) -> Wrong {
    let list = known.joined(separator: ", ")
    let hint = nearest(word.text, among: known).map { "did you mean `\($0)`?" } ?? "one of: \(list)"
    let text = word.text.isEmpty ? "something is missing here" : "\(message) `\(word.text)`"
    return wrong(line, word, text, hint)
  }
}

extension Claim {
  var moment: Moment? {
    switch self {
    case .owner(_, _, let moment), .outage(_, let moment), .noAddress(_, _, let moment),
      .backend(_, _, _, let moment), .failedRequests(_, let moment), .sameOwner(let moment), .quiet(let moment),
      .noConnectionFails(let moment):
      moment
    case .noConnectionBroken(let moment), .nobody(_, let moment): moment
    case .oneOwnerAtEnd, .ownerAtEnd, .twoOwners: nil
    }
  }
}

extension Scenario.Options {
  /// The option that was switched off and that the action needs.
  fileprivate func lacking(for action: Action) -> String? {
    switch action {
    case .guardianKill, .killAll, .stallAll: guardian ? nil : "guardian"
    case .linkPeersCut: peerLink ? nil : "peer-link"
    default: nil
    }
  }
}

extension Moment {
  var text: String {
    switch self {
    case .fault: "fault"
    case .action(let word): word
    }
  }
}
