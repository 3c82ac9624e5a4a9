import Foundation

/// What came of reading a file: a configuration or mistakes, and perhaps a configuration with warnings.
public struct Reading: Sendable {
  /// Nil where there is a mistake that is more than a warning.
  public let configuration: Configuration?
  /// By place in the file.
  public let mistakes: [Mistake]
  /// For the checks against a host: what stands where.
  let draft: Draft
  let source: SourceText?

  fileprivate init(mistakes: [Mistake]) {
    configuration = nil
    self.mistakes = mistakes
    draft = Draft()
    source = nil
  }

  fileprivate init(draft: Draft, source: SourceText, mistakes: [Mistake]) {
    configuration = mistakes.hasError ? nil : draft.configuration
    self.mistakes = mistakes
    self.draft = draft
    self.source = source
  }
}

extension Configuration {
  /// Reads a configuration and finds every mistake in it that needs no more than the text.
  ///
  /// - Parameters:
  ///   - bytes: YAML in UTF-8, 1 MiB at most.
  ///   - file: the name that mistakes give.
  public static func read(bytes: [UInt8], file: String) -> Reading {
    var early: [Mistake] = []
    guard let source = SourceText(bytes, file: file, mistake: { early.append($0) }) else {
      return Reading(mistakes: early)
    }
    var mistakes = Mistakes(source: source)
    guard let root = YAMLDocument.read(source, &mistakes) else {
      return Reading(draft: Draft(), source: source, mistakes: mistakes.sorted)
    }
    Grammar.file.check(root, owner: nil, &mistakes)
    let draft = Draft(root)
    CrossChecks.check(draft, &mistakes)
    return Reading(draft: draft, source: source, mistakes: mistakes.sorted)
  }

  public static func read(text: String, file: String) -> Reading { read(bytes: Array(text.utf8), file: file) }

  public static func read(path: String) -> Reading {
    switch readFile(path, atMost: SourceText.maximumSize + 1) {
    case .success(let bytes): read(bytes: bytes, file: path)
    case .failure(let failure):
      Reading(mistakes: [
        Mistake(file: path, message: "can't be read: \(failure.reason)", suggestion: failure.suggestion)
      ])
    }
  }
}

struct FileFailure: Error {
  var code: Int32
  var reason: String { String(cString: strerror(code)) }

  var suggestion: String? {
    switch code {
    case ENOENT: "give its path with --config"
    case EACCES: "run as a user who may read it"
    case EISDIR: "give the path of a file"
    default: nil
    }
  }
}

/// The bytes of a file, no more than some. A pipe or a device is read no further than that either.
func readFile(_ path: String, atMost maximum: Int) -> Result<[UInt8], FileFailure> {
  let descriptor = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY)
  guard descriptor >= 0 else { return .failure(FileFailure(code: errno)) }
  defer { close(descriptor) }
  var bytes: [UInt8] = []
  while bytes.count < maximum {
    var code: Int32 = 0
    let wanted = min(65_536, maximum - bytes.count)
    let chunk = [UInt8](unsafeUninitializedCapacity: wanted) { buffer, count in
      var result = -1
      repeat { result = Foundation.read(descriptor, buffer.baseAddress, wanted) } while result < 0 && errno == EINTR
      if result < 0 { code = errno }
      count = max(0, result)
    }
    if code != 0 { return .failure(FileFailure(code: code)) }
    if chunk.isEmpty { break }
    bytes += chunk
  }
  return .success(bytes)
}
