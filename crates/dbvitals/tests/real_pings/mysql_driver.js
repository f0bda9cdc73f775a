// Pings a MySQL server by Node's mysql, and prints how often, as JSON. Arguments: port, rounds.

const mysql = require("mysql");
const [port, rounds] = process.argv.slice(2).map(Number);
const connection = mysql.createConnection({
  host: "127.0.0.1", port, user: "vitals", password: "secret",
});

// Everything is queued at once; the driver sends one command after the other.
connection.connect();
for (let round = 0; round < rounds; round += 1) {
  connection.ping();
  connection.query("SELECT 1");
  connection.query("SELECT 1 + ?", [round]);
}
connection.end((error) => {
  if (error) throw error;
  const pings = { com_ping: rounds, select_1: rounds };
  console.log(JSON.stringify({ pings, work: rounds, connections: 1 }));
});
