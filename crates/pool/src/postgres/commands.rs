//! The commands of the driver's client, marked: once for sessions and once for transactions, which
//! have them in common.

/// Writes them for a type whose `$client` has them and whose `$marks` are [`Marks`](super::marks).
macro_rules! marked_commands {
    ($type:ty, $client:ident, $marks:ident) => {
        impl $type {
            /// [`Client::query`](tokio_postgres::Client::query), marked.
            ///
            /// # Errors
            ///
            /// The client's, or that the session had ended before; so with all that follow.
            ///
            /// # Cancel safety
            ///
            /// Whether the command takes effect is not known if the future is dropped. The session
            /// is then closed rather than given back, and the command cancelled; so with all that
            /// follow.
            pub async fn query<S>(
                &self,
                statement: &S,
                params: &[&(dyn ToSql + Sync)],
            ) -> Result<Vec<Row>, PostgresError>
            where
                S: ?Sized + ToStatement,
            {
                let command = self.$client.query(statement, params);
                self.$marks.mark(command).await
            }

            /// [`Client::query_one`](tokio_postgres::Client::query_one), marked.
            pub async fn query_one<S>(
                &self,
                statement: &S,
                params: &[&(dyn ToSql + Sync)],
            ) -> Result<Row, PostgresError>
            where
                S: ?Sized + ToStatement,
            {
                let command = self.$client.query_one(statement, params);
                self.$marks.mark(command).await
            }

            /// [`Client::query_opt`](tokio_postgres::Client::query_opt), marked.
            pub async fn query_opt<S>(
                &self,
                statement: &S,
                params: &[&(dyn ToSql + Sync)],
            ) -> Result<Option<Row>, PostgresError>
            where
                S: ?Sized + ToStatement,
            {
                let command = self.$client.query_opt(statement, params);
                self.$marks.mark(command).await
            }

            /// [`Client::query_typed`](tokio_postgres::Client::query_typed), marked.
            pub async fn query_typed(
                &self,
                query: &str,
                params: &[(&(dyn ToSql + Sync), Type)],
            ) -> Result<Vec<Row>, PostgresError> {
                let command = self.$client.query_typed(query, params);
                self.$marks.mark(command).await
            }

            /// [`Client::execute`](tokio_postgres::Client::execute), marked.
            pub async fn execute<S>(
                &self,
                statement: &S,
                params: &[&(dyn ToSql + Sync)],
            ) -> Result<u64, PostgresError>
            where
                S: ?Sized + ToStatement,
            {
                let command = self.$client.execute(statement, params);
                self.$marks.mark(command).await
            }

            /// [`Client::prepare`](tokio_postgres::Client::prepare), marked.
            pub async fn prepare(&self, query: &str) -> Result<Statement, PostgresError> {
                self.$marks.mark(self.$client.prepare(query)).await
            }

            /// [`Client::prepare_typed`](tokio_postgres::Client::prepare_typed), marked.
            pub async fn prepare_typed(
                &self,
                query: &str,
                types: &[Type],
            ) -> Result<Statement, PostgresError> {
                let command = self.$client.prepare_typed(query, types);
                self.$marks.mark(command).await
            }

            /// [`Client::simple_query`](tokio_postgres::Client::simple_query), marked.
            pub async fn simple_query(
                &self,
                query: &str,
            ) -> Result<Vec<SimpleQueryMessage>, PostgresError> {
                self.$marks.mark(self.$client.simple_query(query)).await
            }

            /// [`Client::batch_execute`](tokio_postgres::Client::batch_execute), marked.
            pub async fn batch_execute(&self, query: &str) -> Result<(), PostgresError> {
                self.$marks.mark(self.$client.batch_execute(query)).await
            }
        }
    };
}

pub(super) use marked_commands;
