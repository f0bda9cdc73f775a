-- Pings a server by sysbench, which prepares its statements: one plain and one prepared in each
-- event, and one statement that is no ping.

function thread_init()
   connection = sysbench.sql.driver():connect()
   ping = connection:prepare("SELECT 1")
end

function event()
   connection:query("SELECT 1")
   ping:execute()
   connection:query("SELECT 1 + 1")
end

function thread_done()
   ping:close()
   connection:disconnect()
end
