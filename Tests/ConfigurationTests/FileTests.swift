import Foundation
import Testing

@testable import Configuration

private func inFolder(_ body: (String) throws -> Void) throws {
  let folder = FileManager.default.temporaryDirectory.appending(path: "roost-file-\(UUID().uuidString)")
  try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
  defer { try? FileManager.default.removeItem(at: folder) }
  try body(folder.path)
}

private func text(_ path: String) -> String? { try? String(contentsOfFile: path, encoding: .utf8) }

@Test func `a file is replaced in one step, and what was there is kept`() throws {
  try inFolder { folder in
    try "old".write(toFile: "\(folder)/real.yaml", atomically: false, encoding: .utf8)
    try FileManager.default.setAttributes([.posixPermissions: 0o640], ofItemAtPath: "\(folder)/real.yaml")
    try FileManager.default.createSymbolicLink(atPath: "\(folder)/roost.yaml", withDestinationPath: "real.yaml")
    let file = ConfigurationFile("\(folder)/roost.yaml")
    try file.replace(with: Array("new".utf8))
    // The link is still one, to the new text, with the old one's mode.
    #expect(text("\(folder)/roost.yaml") == "new")
    let link = try FileManager.default.destinationOfSymbolicLink(atPath: "\(folder)/roost.yaml")
    #expect(link == "real.yaml")
    #expect(text("\(folder)/real.yaml.previous") == "old")
    let mode = try FileManager.default.attributesOfItem(atPath: "\(folder)/real.yaml")[.posixPermissions] as? Int
    #expect(mode == 0o640)
    // Back, and what a person may have written meanwhile is kept.
    try "edited".write(toFile: "\(folder)/real.yaml", atomically: false, encoding: .utf8)
    try file.restore()
    #expect(text(file.path) == "old")
    #expect(text(file.undone) == "edited")
    let names = try FileManager.default.contentsOfDirectory(atPath: folder).sorted()
    #expect(names == ["real.yaml", "real.yaml.previous", "real.yaml.undone", "roost.yaml"])
  }
}

@Test func `a file that isn't there is not replaced`() throws {
  try inFolder { folder in
    let file = ConfigurationFile("\(folder)/roost.yaml")
    #expect(throws: ConfigurationFile.Failure.self) { try file.replace(with: [1]) }
    #expect(throws: ConfigurationFile.Failure.self) { try file.restore() }
    let names = try FileManager.default.contentsOfDirectory(atPath: folder)
    #expect(names.isEmpty)
  }
}

@Test func `a promise to undo outlives the process, and is over after another boot`() throws {
  try inFolder { folder in
    #expect(Unconfirmed.read(in: folder) == nil)
    let promise = Unconfirmed(path: "/etc/roost/roost.yaml", deadline: 1000)
    try promise.write(in: folder)
    #expect(Unconfirmed.read(in: folder) == promise)
    #expect(promise.left(at: 400) == 600)
    #expect(promise.left(at: 1001) < 0)
    #expect(Unconfirmed(path: "", deadline: .max, boot: "another").left(at: 0) == 0)
    #expect(Unconfirmed(path: "", deadline: .max).left(at: -1) == 0)
    Unconfirmed.remove(in: folder)
    #expect(Unconfirmed.read(in: folder) == nil)
    try "{nonsense".write(toFile: "\(folder)/unconfirmed.json", atomically: false, encoding: .utf8)
    #expect(Unconfirmed.read(in: folder) == nil)
  }
}
