import Testing

/// The shipped unit under a real systemd.
@Suite(.serialized, .enabled(if: Container.missing == nil))
struct UnitTests {
  private static let configuration = """
    cluster:
      nodes:
        lb1: 10.66.0.11
        lb2: 10.66.0.12
    vips:
      web:
        addresses: [10.66.0.100]
        vrrp: { id: 51, interval: 100ms }

    """

  @Test func `It is active when the node takes part, and stops politely`() throws {
    let machine = try Container(configuration: Self.configuration)
    try machine.wait("the unit to be active") { machine.property("ActiveState") == "active" }
    try machine.wait("the VIP") { machine.holds("10.66.0.100") }
    #expect(machine.run("systemctl", "stop", "roost.service").status == 0)
    #expect(machine.property("ActiveState") == "inactive")
    #expect(machine.property("Result") == "success")
    #expect(!machine.holds("10.66.0.100"))
    #expect(machine.processes.isEmpty)
  }
}
