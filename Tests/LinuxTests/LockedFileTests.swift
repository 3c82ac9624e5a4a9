import Glibc
import Testing

@testable import Linux

struct LockedFileTests {
  private func withFolder(_ body: (String) throws -> Void) throws {
    var name = Array("/tmp/roost-locked-XXXXXX".utf8CString)
    guard mkdtemp(&name) != nil else { throw SystemError.last("mkdtemp") }
    let folder = String(decoding: name.dropLast().map(UInt8.init(bitPattern:)), as: UTF8.self)
    defer { _ = try? shell("rm -rf \(folder)") }
    try body(folder)
  }

  private func holder(_ path: String) -> Int32? {
    do throws(LockedFile.Failure) {
      _ = try LockedFile(path)
      return nil
    } catch {
      if case .held(let pid) = error { return pid }
      return nil
    }
  }

  @Test func `the holder is found where the disk has no room for its number`() throws {
    try withFolder { folder in
      let path = "\(folder)/daemon.pid"
      let file = try LockedFile(path)
      // Nothing in it.
      #expect(holder(path) == getpid())
      #expect(LockedFile.isHeld(path) == (true, getpid()))
      // The number of one that is gone.
      _ = pwrite(file.descriptor, "999999999\n", 10, 0)
      #expect(holder(path) == getpid())
      file.sign()
      #expect(try shell("cat \(path)") == "\(getpid())\n")
      file.remove()
      #expect(LockedFile.isHeld(path).held == false)
    }
  }

  @Test func `nobody else can open it, older ones included`() throws {
    try withFolder { folder in
      let path = "\(folder)/daemon.pid"
      try shell("touch \(path); chmod 644 \(path)")
      let file = try LockedFile(path)
      #expect(try shell("stat -c %a \(path)") == "600\n")
      withExtendedLifetime(file) {}
    }
  }

  @Test func `what another has put in its place is not removed`() throws {
    try withFolder { folder in
      let path = "\(folder)/guardian.pid"
      let old = try LockedFile(path)
      try shell("touch \(path).new; mv \(path).new \(path)")
      let new = try LockedFile(path)
      old.remove()
      #expect(access(path, F_OK) == 0)
      new.remove()
      #expect(access(path, F_OK) != 0)
    }
  }
}
