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

private func bytes(_ text: String) -> [UInt8] { Array(text.utf8) }

@Test func `a file is exchanged in one step, and what was there is kept`() throws {
  try inFolder { folder in
    try "old".write(toFile: "\(folder)/real.yaml", atomically: false, encoding: .utf8)
    try FileManager.default.setAttributes([.posixPermissions: 0o640], ofItemAtPath: "\(folder)/real.yaml")
    try FileManager.default.createSymbolicLink(atPath: "\(folder)/roost.yaml", withDestinationPath: "real.yaml")
    let exchange = FileExchange("\(folder)/roost.yaml", promises: folder)
    let promise = Unconfirmed(path: exchange.path, before: try exchange.present(), after: bytes("new"), deadline: 0)
    try exchange.exchange(promise, isPromised: false)
    // The link is still one, to the new text, with the old one's mode.
    #expect(text("\(folder)/roost.yaml") == "new")
    let link = try FileManager.default.destinationOfSymbolicLink(atPath: "\(folder)/roost.yaml")
    #expect(link == "real.yaml")
    #expect(text("\(folder)/real.yaml.previous") == "old")
    let mode = try FileManager.default.attributesOfItem(atPath: "\(folder)/real.yaml")[.posixPermissions] as? Int
    #expect(mode == 0o640)
    #expect(try exchange.takeBack(promise) == .after)
    #expect(text(exchange.path) == "old")
    #expect(text(exchange.undone) == "new")
    let names = try FileManager.default.contentsOfDirectory(atPath: folder).sorted()
    #expect(names == ["real.yaml", "real.yaml.previous", "real.yaml.undone", "roost.yaml"])
    // What a person has written since is touched by nothing.
    try "edited".write(toFile: exchange.path, atomically: false, encoding: .utf8)
    #expect(try exchange.takeBack(promise) == .other)
    #expect(text(exchange.path) == "edited")
  }
}

@Test func `a file that isn't there is no configuration`() throws {
  try inFolder { folder in
    #expect(throws: FileFault.self) { try FileExchange("\(folder)/roost.yaml", promises: folder).present() }
  }
}

@Test func `a promise to undo outlives the process, and is over after another boot`() throws {
  try inFolder { folder in
    let exchange = FileExchange("\(folder)/roost.yaml", promises: folder)
    #expect(try exchange.promised() == .nothing)
    // Whatever is in the files, be it no text at all.
    let promise = Unconfirmed(path: exchange.path, before: [0, 255, 10], after: bytes("new"), deadline: 1000)
    try exchange.record(promise)
    #expect(try exchange.promised() == .promise(promise))
    let mode = try FileManager.default.attributesOfItem(atPath: "\(folder)/unconfirmed.json")[.posixPermissions] as? Int
    #expect(mode == 0o600)
    #expect(promise.left(at: 400) == 600)
    #expect(promise.left(at: 1001) < 0)
    #expect(Unconfirmed(path: "", before: [], after: [], deadline: .max, boot: "another").left(at: 0) == 0)
    #expect(Unconfirmed(path: "", before: [], after: [], deadline: .max).left(at: -1) == 0)
    try exchange.settle()
    try exchange.settle()
    #expect(try exchange.promised() == .nothing)
    try "{nonsense".write(toFile: "\(folder)/unconfirmed.json", atomically: false, encoding: .utf8)
    #expect(try exchange.promised() == .senseless)
    #expect(exchange.recover(at: 0).said?.contains("makes no sense") == true)
    #expect(text("\(folder)/unconfirmed.json.unreadable") == "{nonsense")
    #expect(exchange.recover(at: 0) == .init())
  }
}
