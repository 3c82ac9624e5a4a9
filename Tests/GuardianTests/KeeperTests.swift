import Basis
import Glibc
import Linux
import Testing
import Wire

@testable import Guardian

struct KeeperTests {
  private static func charge(_ number: Int) -> Charge {
    Charge(
      interval: .seconds(1), hasServices: false, addresses: [.v4(IPv4Address(rawValue: 0x0A09_0000 | UInt32(number)))],
      interface: 2,
      farewells: [
        .init(
          interface: 2, source: IPAddress("10.9.0.1")!, destination: IPAddress("224.0.0.18")!, message: [0x31, 1])
      ])
  }

  @Test func `what is not different is not told again`() throws {
    var command = GuardianKeeper.Command(arguments: ["sleep", "1000"])
    command.program = "/bin/sleep"
    let keeper = try GuardianKeeper(try OwnershipRecord(capacity: 255), command)
    try keeper.start()
    defer { if let pid = keeper.pid { kill(pid, SIGKILL) }; keeper.goodbye() }
    for vip in 0..<255 { keeper.charge(vip, Self.charge(vip)) }
    // Of each: the charge, its farewell, and the end.
    #expect(keeper.told == 3 * 255)
    for _ in 0..<10 {
      for vip in 0..<255 { keeper.charge(vip, Self.charge(vip)) }
      keeper.turned()
    }
    #expect(keeper.told == 3 * 255)
    var other = Self.charge(7)
    other.devices.ipv4 = 9
    keeper.charge(7, other)
    keeper.charge(8, nil)
    keeper.charge(8, nil)
    #expect(keeper.told == 3 * 255 + 3 + 1)
  }
}
