import Foundation
import Testing

@testable import Configuration

/// The files of a folder beside this one, or of the package.
enum Folder {
  static let here = URL(filePath: #filePath).deletingLastPathComponent()
  static let golden = here.appending(path: "golden")
  static let examples = here.appending(path: "../../examples").standardized

  /// The names of the YAML files of a folder, without extension, sorted.
  static func names(_ folder: URL) -> [String] {
    let files = (try? FileManager.default.contentsOfDirectory(atPath: folder.path)) ?? []
    return files.filter { $0.hasSuffix(".yaml") }.map { String($0.dropLast(5)) }.sorted()
  }

  static func bytes(_ folder: URL, _ name: String) throws -> [UInt8] {
    Array(try Data(contentsOf: folder.appending(path: name)))
  }
}

/// Each wrong file of `golden` beside what a person reads of it. To accept changes after reading them:
/// `ROOST_REWRITE=1 swift test --filter ConfigurationTests`, then `git diff`.
@Test(arguments: Folder.names(Folder.golden))
func `the mistakes of a wrong file read as recorded`(name: String) throws {
  let reading = Configuration.read(bytes: try Folder.bytes(Folder.golden, "\(name).yaml"), file: "\(name).yaml")
  let text = reading.mistakes.text() + "\n"
  let recorded = Folder.golden.appending(path: "\(name).txt")
  if ProcessInfo.processInfo.environment["ROOST_REWRITE"] != nil {
    try text.write(to: recorded, atomically: true, encoding: .utf8)
  }
  #expect(text == (try? String(contentsOf: recorded, encoding: .utf8)))
  #expect(!reading.mistakes.isEmpty)
  #expect((reading.configuration == nil) == reading.mistakes.hasError)
}

@Test(arguments: Folder.names(Folder.examples))
func `an example has no mistake`(name: String) throws {
  let reading = Configuration.read(bytes: try Folder.bytes(Folder.examples, "\(name).yaml"), file: "\(name).yaml")
  #expect(reading.mistakes == [])
  #expect(reading.configuration != nil)
}
