//! The gRPC services. Both have the same methods under two names; errors become statuses here.

use std::sync::Arc;

use tonic::{Extensions, Request, Response, Status};

use super::access::Caller;
use super::adapter::{Adapter, NAME};
use super::proto::adapter_service_server::AdapterService;
use super::proto::mesh_service_server::MeshService;
use super::proto::{
    ApplyRuleRequest, ApplyRuleResponse, ComponentInfoRequest, ComponentInfoResponse, CreateMeshInstanceRequest,
    CreateMeshInstanceResponse, EventsRequest, MeshNameRequest, MeshNameResponse, MeshVersionsRequest,
    MeshVersionsResponse, ProcessOamRequest, ProcessOamResponse, ProvisionRequest, ProvisionResponse,
    SupportedOperationsRequest, SupportedOperationsResponse,
};
use super::stream::EventStream;

/// Both services.
#[derive(Clone)]
pub(super) struct Service(pub Arc<Adapter>);

type Answer<T> = Result<Response<T>, Status>;

/// The caller, which the interceptor of both services has added.
fn caller(call: &Extensions) -> Result<&Caller, Status> {
    call.get().ok_or_else(|| Status::unauthenticated("the call has no caller"))
}

/// `into_parts` instead of `into_inner`: the extensions of a call have the permit that counts it until it ends.
impl Service {
    fn name() -> MeshNameResponse {
        MeshNameResponse { name: NAME.to_owned() }
    }

    fn versions(&self) -> MeshVersionsResponse {
        MeshVersionsResponse { version: self.0.config.versions.clone() }
    }

    async fn apply(&self, request: Request<ApplyRuleRequest>) -> Answer<ApplyRuleResponse> {
        let (_metadata, call, request) = request.into_parts();
        Ok(Response::new(self.0.apply(caller(&call)?, request).await?))
    }

    async fn oam(&self, request: Request<ProcessOamRequest>) -> Answer<ProcessOamResponse> {
        let (_metadata, call, request) = request.into_parts();
        let message = self.0.process_oam(caller(&call)?, request).await?;
        Ok(Response::new(ProcessOamResponse { message }))
    }

    async fn provision_design(&self, request: Request<ProvisionRequest>) -> Answer<ProvisionResponse> {
        let (_metadata, call, request) = request.into_parts();
        let message = self.0.provision(caller(&call)?, request).await?;
        Ok(Response::new(ProvisionResponse { message }))
    }
}

#[tonic::async_trait]
impl MeshService for Service {
    async fn create_mesh_instance(
        &self,
        request: Request<CreateMeshInstanceRequest>,
    ) -> Answer<CreateMeshInstanceResponse> {
        let (_metadata, call, request) = request.into_parts();
        self.0.create(caller(&call)?, request).await?;
        Ok(Response::new(CreateMeshInstanceResponse {}))
    }

    async fn mesh_name(&self, _: Request<MeshNameRequest>) -> Answer<MeshNameResponse> {
        Ok(Response::new(Self::name()))
    }

    async fn mesh_versions(&self, _: Request<MeshVersionsRequest>) -> Answer<MeshVersionsResponse> {
        Ok(Response::new(self.versions()))
    }

    async fn apply_operation(&self, request: Request<ApplyRuleRequest>) -> Answer<ApplyRuleResponse> {
        self.apply(request).await
    }

    async fn supported_operations(
        &self,
        request: Request<SupportedOperationsRequest>,
    ) -> Answer<SupportedOperationsResponse> {
        Ok(Response::new(Adapter::operations(caller(request.extensions())?)))
    }

    type StreamEventsStream = EventStream;

    async fn stream_events(&self, request: Request<EventsRequest>) -> Answer<EventStream> {
        Ok(Response::new(self.0.events(caller(request.extensions())?)?))
    }

    async fn process_oam(&self, request: Request<ProcessOamRequest>) -> Answer<ProcessOamResponse> {
        self.oam(request).await
    }

    async fn provision(&self, request: Request<ProvisionRequest>) -> Answer<ProvisionResponse> {
        self.provision_design(request).await
    }

    async fn component_info(&self, _: Request<ComponentInfoRequest>) -> Answer<ComponentInfoResponse> {
        Ok(Response::new(self.0.info()))
    }
}

#[tonic::async_trait]
impl AdapterService for Service {
    async fn adapter_name(&self, _: Request<MeshNameRequest>) -> Answer<MeshNameResponse> {
        Ok(Response::new(Self::name()))
    }

    async fn adapter_versions(&self, _: Request<MeshVersionsRequest>) -> Answer<MeshVersionsResponse> {
        Ok(Response::new(self.versions()))
    }

    async fn apply_operation(&self, request: Request<ApplyRuleRequest>) -> Answer<ApplyRuleResponse> {
        self.apply(request).await
    }

    async fn supported_operations(
        &self,
        request: Request<SupportedOperationsRequest>,
    ) -> Answer<SupportedOperationsResponse> {
        Ok(Response::new(Adapter::operations(caller(request.extensions())?)))
    }

    type StreamEventsStream = EventStream;

    async fn stream_events(&self, request: Request<EventsRequest>) -> Answer<EventStream> {
        Ok(Response::new(self.0.events(caller(request.extensions())?)?))
    }

    async fn process_oam(&self, request: Request<ProcessOamRequest>) -> Answer<ProcessOamResponse> {
        self.oam(request).await
    }

    async fn provision(&self, request: Request<ProvisionRequest>) -> Answer<ProvisionResponse> {
        self.provision_design(request).await
    }

    async fn component_info(&self, _: Request<ComponentInfoRequest>) -> Answer<ComponentInfoResponse> {
        Ok(Response::new(self.0.info()))
    }
}
